"""The model to train: a frozen base with a PEFT adapter.

PEFT keeps names, files and merging; only the arithmetic of a LoRA layer is our own, because PEFT's
own forward converts the input of every layer to float32 and keeps several copies for backward.

Shapes: T = tokens, I = inputs and O = outputs of a linear layer, R = rank;
M and N = the inner and the outer width of a product of either direction.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import Linear as PeftLinear
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from modeling.training.objective import ATTENTION
from modeling.training.recipe import Lora

ADAPTER = "default"


def _added_in_place(
    narrow_TR: torch.Tensor, b_RN: torch.Tensor, wide_TM: torch.Tensor, w_MN: torch.Tensor
) -> torch.Tensor:
    return torch.mm(narrow_TR, b_RN).addmm_(wide_TM, w_MN)


_two_products_as_one = torch.library.custom_op(
    "praxis::two_products", _added_in_place, mutates_args=()
)


@_two_products_as_one.register_fake
def _(
    narrow_TR: torch.Tensor, b_RN: torch.Tensor, wide_TM: torch.Tensor, w_MN: torch.Tensor
) -> torch.Tensor:
    return wide_TM.new_empty(wide_TM.shape[0], w_MN.shape[1])


def _two_products(
    narrow_TR: torch.Tensor, b_RN: torch.Tensor, wide_TM: torch.Tensor, w_MN: torch.Tensor
) -> torch.Tensor:
    """`narrow @ b + wide @ w`: the wide product is added to the narrow one where that lies."""
    # As plain operations compiled code would make a copy and a sum of the sum in place.
    add = _two_products_as_one if torch.compiler.is_compiling() else _added_in_place
    return add(narrow_TR, b_RN, wide_TM, w_MN)


class _LoraProduct(torch.autograd.Function):
    """`x @ W.T + bias + scaling * (x @ A.T) @ B.T`, W frozen, A and B float32.

    The arithmetic runs in x's type; backward keeps x and the narrow x @ A.T only.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight_OI: torch.Tensor,
        bias_O: torch.Tensor | None,
        a_RI: torch.Tensor,
        b_OR: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        x_TI = x.flatten(0, -2)
        scaled_b_OR = (b_OR * scaling).to(x.dtype)
        narrow_TR = x_TI @ a_RI.to(x.dtype).T
        y_TO = _two_products(narrow_TR, scaled_b_OR.T, x_TI, weight_OI.T)
        if bias_O is not None:
            y_TO += bias_O
        ctx.save_for_backward(x_TI, narrow_TR, weight_OI, a_RI, scaled_b_OR)
        ctx.scaling = scaling
        return y_TO.unflatten(0, x.shape[:-1])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x_TI, narrow_TR, weight_OI, a_RI, scaled_b_OR = ctx.saved_tensors
        (gradient,) = gradients
        g_TO = gradient.flatten(0, -2)
        g_TR = g_TO @ scaled_b_OR
        x_gradient = None
        if ctx.needs_input_grad[0]:
            x_gradient = _two_products(g_TR, a_RI.to(g_TR.dtype), g_TO, weight_OI)
            x_gradient = x_gradient.unflatten(0, gradient.shape[:-1])
        a_gradient = (g_TR.T @ x_TI).float()
        b_gradient = (g_TO.T @ narrow_TR).float() * ctx.scaling
        return x_gradient, None, None, a_gradient, b_gradient, None


class LoraLinear(PeftLinear):
    """PEFT's LoRA layer with the fused product while one plain adapter is being trained."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        plain = (
            self.active_adapters == [ADAPTER]
            and not self.disable_adapters
            and not self.merged
            and not self.lora_variant
            and not (self.training and isinstance(self.lora_dropout[ADAPTER], nn.Dropout))
            and not self.base_layer.weight.requires_grad
        )
        if not plain:
            return super().forward(x, *args, **kwargs)
        base = self.get_base_layer()
        weight = base.weight
        assert isinstance(weight, torch.Tensor)
        return _LoraProduct.apply(
            # Under autocast x may be wider than the arithmetic, behind a norm held in float32.
            x.to(weight.dtype),
            weight,
            base.bias,
            self.lora_A[ADAPTER].weight,
            self.lora_B[ADAPTER].weight,
            self.scaling[ADAPTER],
        )


def load_base(model_path: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The base model from safetensors, never from pickle, never with code from the folder."""
    if not (model_path / "config.json").is_file():
        raise FileNotFoundError(
            f"no base model in {model_path}: config.json is missing; give the folder of a "
            "Hugging Face model"
        )
    return AutoModelForCausalLM.from_pretrained(
        model_path,
        dtype=dtype,
        attn_implementation=ATTENTION,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
    )


def add_adapter(base: PreTrainedModel, lora: Lora, *, seed: int) -> PeftModel:
    """Freeze the base and give the named layers and weights an adapter that starts as zero."""
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        target_parameters=list(lora.target_parameters) or None,
        bias="none",
    )
    config._register_custom_module({nn.Linear: LoraLinear})
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        # PEFT 0.21 reads an attribute that transformers 5.23 renames; nothing depends on it here.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        with _targets_as_named(base):
            return get_peft_model(base, config, adapter_name=ADAPTER)


@contextmanager
def _targets_as_named(base: PreTrainedModel) -> Iterator[None]:
    """Keep PEFT from reading the feed-forward's names as the routed experts of a mixture.

    For `glm4_moe` and its kin it takes `gate_proj`, `up_proj` and `down_proj` for the per-expert
    layers of older checkpoints and turns them into adapters of the fused expert weights; here they
    are the shared experts' layers. It decides by the configuration's model type.
    """
    config: Any = base.config
    config.model_type = "as_named"
    try:
        yield
    finally:
        del config.model_type


def merge_adapter(model: PreTrainedModel, directory: Path) -> PreTrainedModel:
    """The model with the adapter that `save_adapter` wrote merged into its weights."""
    with _targets_as_named(model):
        adapted: Any = PeftModel.from_pretrained(model, str(directory))
    merged: PreTrainedModel = adapted.merge_and_unload()
    return merged


def save_adapter(
    model: PeftModel, directory: Path, weights: Mapping[str, torch.Tensor] | None = None
) -> None:
    """Write `adapter_model.safetensors` and `adapter_config.json`.

    `weights`, by the names of `model.state_dict()`, stand in for the model's own, which may be
    divided among processes.
    """
    model.save_pretrained(str(directory), save_embedding_layers=False, state_dict=weights)
    (directory / "README.md").unlink(missing_ok=True)


def resolve_dtype(choice: Literal["auto", "bf16", "fp32"], device: torch.device) -> torch.dtype:
    """'auto' takes bf16 where the device multiplies faster in it, by trying."""
    if choice != "auto":
        return torch.bfloat16 if choice == "bf16" else torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return min((torch.float32, torch.bfloat16), key=lambda dtype: _matmul_seconds(dtype, device))


def _matmul_seconds(dtype: torch.dtype, device: torch.device) -> float:
    left = torch.ones(512, 768, dtype=dtype, device=device)
    right = torch.ones(768, 768, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - started)
    return best
