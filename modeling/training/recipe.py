"""What one fine-tuning run is made of, as plain values that survive JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from modeling.moe.shape import Experts

ATTENTION_AND_FEED_FORWARD = (
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
)
EXPERT_PARAMETERS = ("mlp.experts.gate_up_proj", "mlp.experts.down_proj")
"""A mixture's fused expert weights in transformers; peft adapts them as `target_parameters`."""

PARTS = ("lora", "experts", "routers", "norms", "base")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    _require(value in allowed, f"{name} must be one of {', '.join(allowed)}; got {value!r}")


def _at_least(name: str, value: float, least: float) -> None:
    _require(
        not isinstance(value, bool) and math.isfinite(value) and value >= least,
        f"{name} must be {least} or more; got {value!r}",
    )


def _share(name: str, value: float) -> None:
    _require(0.0 <= value < 1.0, f"{name} must be from 0 to below 1; got {value!r}")


@dataclass(frozen=True, kw_only=True)
class Lora:
    """The low-rank adapter: which matrices get one and how large it is."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    target_modules: tuple[str, ...] = ATTENTION_AND_FEED_FORWARD
    """Linear layers; in a mixture the feed-forward's names are those of the shared experts."""
    target_parameters: tuple[str, ...] = ()
    """A mixture's fused expert weights, `EXPERT_PARAMETERS`."""

    def __post_init__(self) -> None:
        _at_least("lora.rank", self.rank, 1)
        _at_least("lora.alpha", self.alpha, 1)
        _share("lora.dropout", self.dropout)
        _require(
            len(self.target_modules) > 0,
            "lora.target_modules must name at least one linear layer, such as q_proj; got none",
        )
        _require(
            not (self.target_parameters and self.dropout),
            "lora.dropout must be 0 with target_parameters: an adapter of expert weights changes the "
            f"weights, not an input that could be dropped; got {self.dropout!r}",
        )


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The learning rate over the steps: linear warm-up, then cosine or step decay."""

    learning_rate: float = 2e-4
    kind: Literal["cosine", "step"] = "cosine"
    warmup_share: float = 0.05
    """The share of all steps in which the rate rises from 0 to `learning_rate`."""
    final_share: float = 0.1
    """The cosine ends at this share of `learning_rate`."""
    decay_every_steps: int = 100
    """With kind 'step': the rate is multiplied by `decay_factor` after so many steps."""
    decay_factor: float = 0.5

    def __post_init__(self) -> None:
        _require(
            math.isfinite(self.learning_rate) and 0.0 < self.learning_rate <= 1.0,
            "schedule.learning_rate must be above 0 and at most 1 (LoRA usually takes 1e-5 to "
            f"1e-3); got {self.learning_rate!r}",
        )
        _one_of("schedule.kind", self.kind, ("cosine", "step"))
        _share("schedule.warmup_share", self.warmup_share)
        _require(
            0.0 <= self.final_share <= 1.0,
            f"schedule.final_share must be from 0 to 1; got {self.final_share!r}",
        )
        _at_least("schedule.decay_every_steps", self.decay_every_steps, 1)
        _require(
            0.0 < self.decay_factor <= 1.0,
            f"schedule.decay_factor must be above 0 and at most 1; got {self.decay_factor!r}",
        )

    def rate_at(self, step: int, steps: int) -> float:
        """The learning rate of update number `step`, counted from 1, of `steps`."""
        warmup = math.ceil(self.warmup_share * steps)
        if step <= warmup:
            return self.learning_rate * step / warmup
        if self.kind == "step":
            decays = (step - warmup - 1) // self.decay_every_steps
            return self.learning_rate * self.decay_factor**decays
        progress = (step - warmup) / max(1, steps - warmup)
        cosine = 0.5 * (1.0 + math.cos(math.pi * progress))
        return self.learning_rate * (self.final_share + (1.0 - self.final_share) * cosine)


@dataclass(frozen=True, kw_only=True)
class Balancing:
    """How the routed experts of a mixture are kept evenly used while it is trained."""

    gamma: float = 1e-3
    """Step of the bias update after each optimiser step; 0 leaves the biases alone."""
    settle_share: float = 0.2
    """In so large a last share of the run the step falls to 0, so that the biases come to rest."""
    loss_weight: float = 0.0
    """Weight of DeepSeek-V3's balance loss of each conversation; the bias evens out the whole
    mix only, this each conversation and so each domain. 0 leaves it out."""

    def __post_init__(self) -> None:
        _at_least("balancing.gamma", self.gamma, 0)
        _share("balancing.settle_share", self.settle_share)
        _at_least("balancing.loss_weight", self.loss_weight, 0)

    def gamma_at(self, done: float) -> float:
        """The step after `done`, a share from 0 to 1, of the run."""
        if self.settle_share == 0.0:
            return self.gamma
        return self.gamma * min(1.0, max(0.0, 1.0 - done) / self.settle_share)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One run. `model_path`, `data_path` and `output_dir` have no default; the rest does."""

    model_path: str
    """Folder of a Hugging Face model: config.json, safetensors, tokenizer.json."""
    data_path: str
    """JSONL of conversations, see docs/reference/training.md."""
    output_dir: str
    """Everything the run writes goes here; a second start continues from what it finds."""
    model_name: str = ""
    """The base model's public name, written into the adapter's manifest."""
    trainable: Mapping[str, float] = field(default_factory=lambda: {"lora": 1.0})
    """Which parts are trained, each with a factor on the learning rate: `lora` the adapter,
    `experts` the routed experts, `routers`, `norms` all norms, `base` every other weight."""
    experts: Experts | None = None
    """Makes a mixture of a dense base when it is loaded: number, width and top_k of the routed
    experts. None trains the base as it is, dense or mixture."""
    balancing: Balancing = field(default_factory=Balancing)
    lora: Lora = field(default_factory=Lora)
    schedule: Schedule = field(default_factory=Schedule)
    epochs: float = 3.0
    """Passes over the data; fractions are allowed. Ignored when `steps` is above 0."""
    steps: int = 0
    """Number of updates; 0 derives it from `epochs`."""
    max_seconds: float = 0.0
    """Seconds by the clock from start to saved result; above 0 the run ends by then, whatever
    `steps` and `epochs` say, and the learning rate falls with the time instead of the steps."""
    max_tokens: int = 1024
    """Length of a packed sequence; a longer conversation is left out and counted."""
    sequences_per_step: int = 2
    """Packed sequences per update over all processes: gradient accumulation."""
    weight_decay: float = 0.0
    max_gradient_norm: float = 1.0
    seed: int = 0
    save_every_steps: int = 10
    keep_checkpoints: int = 2
    evaluation_share: float = 0.05
    """Share of the conversations held out to measure the loss; 0 switches evaluation off."""
    max_evaluation_conversations: int = 64
    evaluate_every_steps: int = 0
    """0 evaluates at the start and at the end only."""
    early_stop_evaluations: int = 0
    """Stop after so many evaluations in a row without a better loss; 0 never stops early."""
    dtype: Literal["auto", "bf16", "fp32"] = "auto"
    """Type of the frozen weights and of the arithmetic; trained weights are float32."""
    device: Literal["auto", "cpu"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    """Fuse the layers' arithmetic with torch.compile; 'auto' does on a GPU where the run is long
    enough to repay it."""
    threads: int = 0
    """CPU threads; 0 leaves PyTorch's choice."""
    export_gguf: bool = True
    """Also write the adapter for llama.cpp."""

    def __post_init__(self) -> None:
        for name in ("model_path", "data_path", "output_dir"):
            _require(bool(getattr(self, name)), f"{name} must be a path; got an empty text")
        _require(
            self.steps > 0 or (math.isfinite(self.epochs) and self.epochs > 0),
            f"epochs must be above 0 when steps is 0; got epochs={self.epochs!r}",
        )
        _at_least("steps", self.steps, 0)
        _at_least("max_seconds", self.max_seconds, 0)
        _require(
            len(self.trainable) > 0,
            f"trainable must name at least one of {', '.join(PARTS)}; got none",
        )
        for part, factor in self.trainable.items():
            _one_of("trainable", part, PARTS)
            _require(
                math.isfinite(factor) and factor > 0,
                f"trainable.{part} must be a factor above 0; got {factor!r}",
            )
        _at_least("max_tokens", self.max_tokens, 16)
        _at_least("sequences_per_step", self.sequences_per_step, 1)
        _at_least("weight_decay", self.weight_decay, 0)
        _require(
            math.isfinite(self.max_gradient_norm) and self.max_gradient_norm > 0,
            f"max_gradient_norm must be above 0; got {self.max_gradient_norm!r}",
        )
        _require(
            self.max_seconds == 0 or self.schedule.kind == "cosine",
            "schedule.kind must be cosine when max_seconds is above 0, because the rate then "
            f"follows the time; got {self.schedule.kind!r}",
        )
        _at_least("seed", self.seed, 0)
        _at_least("save_every_steps", self.save_every_steps, 1)
        _require(
            self.keep_checkpoints >= 2,
            "keep_checkpoints must be 2 or more, so that a damaged newest checkpoint has one to "
            f"fall back to; got {self.keep_checkpoints!r}",
        )
        _require(
            0.0 <= self.evaluation_share <= 0.5,
            f"evaluation_share must be from 0 to 0.5; got {self.evaluation_share!r}",
        )
        _at_least("max_evaluation_conversations", self.max_evaluation_conversations, 1)
        _at_least("evaluate_every_steps", self.evaluate_every_steps, 0)
        _at_least("early_stop_evaluations", self.early_stop_evaluations, 0)
        _require(
            self.early_stop_evaluations == 0
            or (self.evaluate_every_steps > 0 and self.evaluation_share > 0),
            "early_stop_evaluations needs evaluate_every_steps and evaluation_share above 0; got "
            f"evaluate_every_steps={self.evaluate_every_steps!r}, "
            f"evaluation_share={self.evaluation_share!r}",
        )
        _one_of("dtype", self.dtype, ("auto", "bf16", "fp32"))
        _one_of("device", self.device, ("auto", "cpu"))
        _one_of("compile", self.compile, ("auto", "on", "off"))
        _at_least("threads", self.threads, 0)

    @property
    def output(self) -> Path:
        return Path(self.output_dir)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_dict(cls, values: object) -> Recipe:
        """Build a recipe from decoded JSON; unknown and mistyped fields are named."""
        fields = _checked(cls, values, "")
        if "lora" in fields:
            lora = _checked(Lora, fields["lora"], "lora.")
            for names in lora.keys() & {"target_modules", "target_parameters"}:
                lora[names] = tuple(lora[names])
            fields["lora"] = Lora(**lora)
        if "schedule" in fields:
            fields["schedule"] = Schedule(**_checked(Schedule, fields["schedule"], "schedule."))
        if "balancing" in fields:
            fields["balancing"] = Balancing(
                **_checked(Balancing, fields["balancing"], "balancing.")
            )
        if fields.get("experts") is not None:
            fields["experts"] = Experts(**_checked(Experts, fields["experts"], "experts."))
        return cls(**fields)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        return cls.from_dict(json.loads(text))


_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "tuple[str, ...]": (list, tuple),
    "Mapping[str, float]": (dict,),
    "Experts | None": (dict, type(None)),
    "Balancing": (dict,),
    "Lora": (dict,),
    "Schedule": (dict,),
}


def _checked(cls: type, values: object, prefix: str) -> dict[str, Any]:
    where = prefix.rstrip(".") or "the recipe"
    _require(isinstance(values, dict), f"{where} must be a JSON object; got {values!r}")
    assert isinstance(values, dict)
    known = {entry.name: str(entry.type) for entry in dataclasses.fields(cls)}
    for name, value in values.items():
        _require(
            name in known,
            f"unknown field {prefix}{name}; allowed are {', '.join(known)}",
        )
        kind = "str" if known[name].startswith("Literal") else known[name]
        allowed = _JSON_TYPES[kind]
        fits = isinstance(value, allowed) and (kind == "bool" or not isinstance(value, bool))
        if kind == "tuple[str, ...]":
            fits = fits and all(isinstance(item, str) for item in value)
        if kind == "Mapping[str, float]":
            fits = fits and all(
                isinstance(item, (int, float)) and not isinstance(item, bool)
                for item in value.values()
            )
        _require(fits, f"{prefix}{name} must be of type {kind}; got {value!r}")
    missing = [
        entry.name
        for entry in dataclasses.fields(cls)
        if entry.default is dataclasses.MISSING
        and entry.default_factory is dataclasses.MISSING
        and entry.name not in values
    ]
    _require(not missing, f"{where} lacks {', '.join(missing)}")
    return dict(values)
