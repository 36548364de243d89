"""Turn a dense checkpoint into a mixture of experts that computes the same function.

The dense feed-forward becomes the shared expert, the routed experts are added beside it with a
down-projection of zeros, and the router is random: at first the mixture says exactly what the
dense model said, and only training makes the routed experts speak (DeepSeekMoE, arXiv 2401.06066;
sparse upcycling, arXiv 2212.05055). The architecture is transformers' `Glm4MoeForCausalLM`.

Shapes: E = routed experts, W = width of one routed expert, H = hidden width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Glm4MoeConfig,
    Glm4MoeForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
)

from modeling.moe.shape import Experts as Experts

DENSE_TYPES = ("llama", "mistral")


class NotUpcyclable(ValueError):
    """The dense checkpoint has a part that the mixture can't hold; the text names it."""


def mixture_config(dense: PretrainedConfig, experts: Experts) -> Glm4MoeConfig:
    """The configuration of the mixture; raises NotUpcyclable for a dense model it can't equal."""
    _check(dense, experts)
    facts: dict[str, Any] = {
        "vocab_size": dense.vocab_size,
        "hidden_size": dense.hidden_size,
        "intermediate_size": dense.intermediate_size,
        "num_hidden_layers": dense.num_hidden_layers,
        "num_attention_heads": dense.num_attention_heads,
        "num_key_value_heads": dense.num_key_value_heads,
        "head_dim": _head_dim(dense),
        "hidden_act": dense.hidden_act,
        "max_position_embeddings": dense.max_position_embeddings,
        "initializer_range": dense.initializer_range,
        "rms_norm_eps": dense.rms_norm_eps,
        "tie_word_embeddings": dense.tie_word_embeddings,
        "rope_parameters": {**dense.rope_parameters, "partial_rotary_factor": 1.0},
        "partial_rotary_factor": 1.0,
        "attention_bias": False,
        "attention_dropout": dense.attention_dropout,
        "use_qk_norm": False,
        "first_k_dense_replace": 0,
        "moe_intermediate_size": experts.width,
        "n_shared_experts": dense.intermediate_size // experts.width,
        "n_routed_experts": experts.number,
        "num_experts_per_tok": experts.top_k,
        "routed_scaling_factor": 1.0,
        "norm_topk_prob": True,
        "n_group": 1,
        "topk_group": 1,
        "num_nextn_predict_layers": 0,
        "bos_token_id": dense.bos_token_id,
        "eos_token_id": dense.eos_token_id,
        "pad_token_id": dense.pad_token_id,
        "dtype": dense.dtype,
    }
    return Glm4MoeConfig(**facts)


def upcycle(dense: PreTrainedModel, experts: Experts, *, seed: int) -> Glm4MoeForCausalLM:
    """A new mixture with the logits of `dense`, in its type and on its device.

    Router and the experts' input projections are drawn from a normal distribution of the config's
    `initializer_range` by `seed`, alike on every device; the caller's random state isn't touched.
    """
    config = mixture_config(dense.config, experts)
    config._attn_implementation = dense.config._attn_implementation
    with torch.random.fork_rng(devices=[]):
        # Built without memory: every tensor is filled below.
        with torch.device("meta"):
            mixture = Glm4MoeForCausalLM(config)
        torch.nn.Module.to(mixture, dense.dtype)
        mixture.to_empty(device=dense.device)
    renamed = {_mixture_name(name): value for name, value in dense.state_dict().items()}
    missing, unexpected = mixture.load_state_dict(renamed, strict=False)
    if unexpected:
        raise NotUpcyclable(
            f"the dense model has tensors that the mixture has no place for: {sorted(unexpected)}"
        )
    mixture.tie_weights()
    _fill_new_parts(mixture, seed)
    unfilled = [name for name in missing if ".mlp.gate." not in name and ".experts." not in name]
    if unfilled and not (config.tie_word_embeddings and unfilled == ["lm_head.weight"]):
        raise NotUpcyclable(f"the dense model lacks tensors of the mixture: {sorted(unfilled)}")
    # Not part of a state dict: the rotary frequencies, computed again from the config.
    rotary = type(mixture.model.rotary_emb)(config)
    mixture.model.rotary_emb = rotary.to(dense.device)
    mixture.generation_config = dense.generation_config
    return mixture.train(dense.training)


def upcycle_checkpoint(
    source: Path, target: Path, experts: Experts, *, seed: int
) -> Glm4MoeForCausalLM:
    """Upcycle the Hugging Face folder `source` and save the mixture as another at `target`."""
    mixture_config(AutoConfig.from_pretrained(source, local_files_only=True), experts)
    dense = AutoModelForCausalLM.from_pretrained(
        source, local_files_only=True, use_safetensors=True, trust_remote_code=False
    )
    mixture = upcycle(dense, experts, seed=seed)
    mixture.save_pretrained(target)
    return mixture


def num_params(config: Glm4MoeConfig) -> int:
    """Trainable weights of the model that `config` describes, counted without building it.

    A tied output layer counts once. The routers' score correction biases are buffers, not weights.
    """
    return _count(config, config.n_routed_experts)


def num_active_params(config: Glm4MoeConfig) -> int:
    """Weights that work on one token: all but the routed experts that weren't chosen.

    Embedding and output tables count whole, as the published counts of DeepSeek and GLM do.
    """
    return _count(config, config.num_experts_per_tok)


@contextmanager
def experts_off(model: nn.Module) -> Iterator[None]:
    """Inside, the routed experts add nothing: an upcycled model is its dense base again.

    That holds after training too, as long as only routed experts and routers were trained.
    """
    hooks = [
        module.register_forward_hook(_silence)
        for name, module in model.named_modules()
        if name.endswith(".mlp.experts")
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _silence(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(output)


def _head_dim(dense: PretrainedConfig) -> int:
    given = getattr(dense, "head_dim", None)
    return int(given or dense.hidden_size // dense.num_attention_heads)


def _check(dense: PretrainedConfig, experts: Experts) -> None:
    if dense.model_type not in DENSE_TYPES:
        raise NotUpcyclable(
            f"the dense model has type {dense.model_type!r}; upcycling takes one of "
            f"{', '.join(DENSE_TYPES)}"
        )
    for flag in ("attention_bias", "mlp_bias"):
        if getattr(dense, flag, False):
            raise NotUpcyclable(
                f"the dense model has {flag}=True; the mixture has no such biases, so only models "
                f"with {flag}=False can be upcycled"
            )
    window = getattr(dense, "sliding_window", None)
    if window is not None and window < dense.max_position_embeddings:
        raise NotUpcyclable(
            f"the dense model attends within a window of {window} tokens; the mixture attends to "
            "all: give a model with sliding_window=None"
        )
    factor = (dense.rope_parameters or {}).get("partial_rotary_factor", 1.0)
    if factor != 1.0:
        raise NotUpcyclable(
            f"the dense model has partial_rotary_factor={factor}; only 1.0 can be upcycled"
        )
    if dense.intermediate_size % experts.width:
        raise NotUpcyclable(
            f"the dense feed-forward is {dense.intermediate_size} wide and becomes shared experts "
            f"of the routed experts' width, got {experts.width}; give a divisor of "
            f"{dense.intermediate_size}"
        )


def _mixture_name(dense_name: str) -> str:
    for projection in ("gate_proj", "up_proj", "down_proj"):
        dense_name = dense_name.replace(f".mlp.{projection}.", f".mlp.shared_experts.{projection}.")
    return dense_name


def _fill_new_parts(mixture: Glm4MoeForCausalLM, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    spread = mixture.config.initializer_range

    def fill(target: torch.Tensor) -> None:
        # Drawn on the CPU in float32, so that one seed means one model everywhere.
        drawn = torch.empty(target.shape).normal_(0.0, spread, generator=generator)
        target.copy_(drawn)

    with torch.no_grad():
        for layer in mixture.model.layers:
            fill(layer.mlp.gate.weight)
            fill(layer.mlp.experts.gate_up_proj)
            layer.mlp.experts.down_proj.zero_()
            bias = layer.mlp.gate.e_score_correction_bias
            layer.mlp.gate.e_score_correction_bias = torch.zeros_like(bias, dtype=torch.float32)


def _count(config: Glm4MoeConfig, routed: int) -> int:
    hidden = config.hidden_size
    head_dim = _head_dim(config)
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    attention = 2 * hidden * heads * head_dim + 2 * hidden * kv_heads * head_dim
    if config.attention_bias:
        attention += (heads + 2 * kv_heads) * head_dim
    if config.use_qk_norm:
        attention += 2 * head_dim
    norms = 2 * hidden
    dense_layers = min(config.first_k_dense_replace, config.num_hidden_layers)
    dense_block = 3 * hidden * config.intermediate_size
    expert = 3 * hidden * config.moe_intermediate_size
    router = hidden * config.n_routed_experts
    mixture_block = router + (config.n_shared_experts + routed) * expert
    tables = config.vocab_size * hidden * (1 if config.tie_word_embeddings else 2)
    return (
        tables
        + hidden
        + config.num_hidden_layers * (attention + norms)
        + dense_layers * dense_block
        + (config.num_hidden_layers - dense_layers) * mixture_block
    )
