"""The routing lens: which experts fired for each token of a prompt, in each layer.

Shapes: L = routed layers, E = routed experts, T = tokens, K = experts chosen per token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from modeling.moe.balance import counted_load
from modeling.moe.experts import use_training_experts
from modeling.moe.routers import keep_routers_in_float32, router_weight, routers


@dataclass(frozen=True, kw_only=True)
class Routing:
    """For every layer and token the chosen experts, the one with the largest weight first."""

    tokens: tuple[str, ...]
    """The text of each token, (T,)."""
    layers: tuple[int, ...]
    """The numbers of the routed layers in the model, (L,)."""
    num_experts: int
    experts_LTK: npt.NDArray[np.int64]
    weights_LTK: npt.NDArray[np.float32]
    """What each chosen expert's output is multiplied by."""

    def load(self) -> npt.NDArray[np.int64]:
        """How many tokens each expert worked on, (layers, experts)."""
        return np.stack(
            [np.bincount(layer.ravel(), minlength=self.num_experts) for layer in self.experts_LTK]
        )

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON values; weights have four decimals."""
        return {
            "tokens": list(self.tokens),
            "layers": list(self.layers),
            "num_experts": self.num_experts,
            "experts": self.experts_LTK.tolist(),
            "weights": [
                [[round(float(weight), 4) for weight in token] for token in layer]
                for layer in self.weights_LTK
            ],
        }


def routing_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str) -> Routing:
    """Run the prompt, as it is written, once through the mixture."""
    token_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    return routing_of_tokens(
        model, token_ids, [str(tokenizer.decode([token])) for token in token_ids]
    )


@torch.no_grad()
def routing_of_tokens(
    model: PreTrainedModel, token_ids: Sequence[int], texts: Sequence[str]
) -> Routing:
    """The same for tokens; `texts` are what to show for them."""
    if not token_ids:
        raise ValueError("the prompt has no tokens; give some text")
    found = routers(model)
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def record(name: str) -> Any:
        def hook(_router: nn.Module, _inputs: Any, routed: Sequence[torch.Tensor]) -> None:
            # transformers' routers leave the order open.
            weights_TK, order_TK = routed[1].sort(dim=-1, descending=True, stable=True)
            seen[name] = (routed[2].gather(-1, order_TK), weights_TK)

        return hook

    hooks = [router.register_forward_hook(record(name)) for name, router in found.items()]
    was_training = model.training
    model.eval()
    try:
        # The routers lie before the output layer: only the body runs.
        model.base_model(
            input_ids=torch.tensor([list(token_ids)], device=model.device), use_cache=False
        )
    finally:
        model.train(was_training)
        for handle in hooks:
            handle.remove()
    return Routing(
        tokens=tuple(texts),
        layers=tuple(_layer_number(name) for name in found),
        num_experts=router_weight(next(iter(found.values()))).shape[0],
        experts_LTK=np.stack([seen[name][0].cpu().numpy() for name in found]),
        weights_LTK=np.stack([seen[name][1].float().cpu().numpy() for name in found]),
    )


def _layer_number(name: str) -> int:
    parts = name.split(".")
    return int(parts[parts.index("layers") + 1])


@dataclass(frozen=True, kw_only=True)
class Lens:
    """A mixture and its tokeniser, to look at prompts and texts."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @classmethod
    def open(cls, folder: Path) -> Self:
        """From a Hugging Face folder, in float32; raises NoRouters for a dense model."""
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
        keep_routers_in_float32(model)
        use_training_experts(model)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return cls(model=model.eval(), tokenizer=tokenizer)

    @property
    def layers(self) -> list[int]:
        """The numbers of the routed layers in the model."""
        return [_layer_number(name) for name in routers(self.model)]

    def rendered(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """A chat as the model reads it, up to where its answer begins."""
        return str(
            self.tokenizer.apply_chat_template(
                [dict(message) for message in messages], tokenize=False, add_generation_prompt=True
            )
        )

    def tokens_of(self, text: str) -> list[int]:
        encoded = self.tokenizer(text, add_special_tokens=False, verbose=False)
        return list(encoded["input_ids"])

    def routing(self, tokens: Sequence[int]) -> Routing:
        texts = [str(self.tokenizer.decode([token])) for token in tokens]
        return routing_of_tokens(self.model, tokens, texts)

    @torch.no_grad()
    def load(self, texts: Sequence[Sequence[int]]) -> npt.NDArray[np.int64]:
        """How many tokens of the texts each expert worked on, (L, E)."""
        with counted_load(self.model) as counter:
            for tokens in texts:
                self.model.base_model(input_ids=torch.tensor([list(tokens)]), use_cache=False)
            return counter.read()
