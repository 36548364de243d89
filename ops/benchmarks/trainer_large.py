"""LoRA on a mixture of DeepSeek-V2-Lite's shape, 15.7 billion weights, against transformers + peft.

The weights are random and made on the card (`deepseek_v2`, bfloat16), so that nothing is downloaded;
the shape is that of the published model: latent attention, 27 layers, 64 routed experts of 1408, six
of them and two shared ones per token. Both train rank 16 on attention over the same documents of
1024 random tokens, all supervised, without recomputing activations: the plain loop in batches of
4 x 1024, the largest that fits it, ours in packed sequences of `--limit` documents (8). Random
weights route about evenly, as a balanced mixture does. It needs a GPU of 80 GB.

Figures: `tokens_per_s` and `plain_tokens_per_s` (medians over the steps, the first ones not counted),
`ratio`, both `mfu` as in the bench `trainer` (experts that work on a token only), `memory_gb` and
`plain_memory_gb` (peaks), and `losses` of both, whose first must agree.
"""

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, DeepseekV2Config, PreTrainedModel

from modeling.training.chat import Encoded
from modeling.training.objective import ATTENTION
from modeling.training.packing import TokenStore, collate
from modeling.training.recipe import Lora, Recipe
from modeling.training.trainer import prepare, step
from modeling.weights.assemble import training_base
from ops.benchmarks.trainer import LEARNING_RATE, ROOT, model_flops, peak_flops

TARGETS = ("q_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj")
DOCUMENT = 1024
PLAIN_BATCH = 4
STEPS = 12
WARM_UP = 3


def run(args: argparse.Namespace) -> dict[str, Any]:
    if not torch.cuda.is_available():
        return {"skipped": "needs a CUDA GPU of 80 GB"}
    per_step = args.limit or 8
    with tempfile.TemporaryDirectory(prefix="bench-trainer-large-") as directory:
        tokens = Path(directory) / "tokens"
        TokenStore.write(
            tokens, _documents((STEPS + WARM_UP) * per_step, args.seed), fingerprint="random",
            left_out={},
        )  # fmt: skip
        recipe = Recipe(
            # Only its tokeniser would be read, and the tokens are there already.
            model_path=str(args.model or training_base(ROOT / "var" / "models")),
            data_path=str(tokens),
            output_dir=f"{directory}/ours",
            lora=Lora(rank=16, alpha=32, target_modules=TARGETS),
            max_tokens=per_step * DOCUMENT,
            sequences_per_step=1,
            steps=STEPS + WARM_UP,
            evaluation_share=0.0,
            dtype="bf16",
            compile="on",
            seed=args.seed,
        )
        ours, flops = _ours(recipe, args.seed, per_step)
        plain = _plain(TokenStore(tokens), args.seed)
    peak, source = peak_flops(torch.device("cuda"), torch.bfloat16)
    return {
        "n": STEPS,
        "tokens_per_s": round(ours["tokens_per_s"]),
        "plain_tokens_per_s": round(plain["tokens_per_s"]),
        "ratio": round(ours["tokens_per_s"] / plain["tokens_per_s"], 3),
        "spread": ours["spread"],
        "plain_spread": plain["spread"],
        "mfu": round(flops * ours["tokens_per_s"] / peak, 4),
        "plain_mfu": round(flops * plain["tokens_per_s"] / peak, 4),
        "peak_source": source,
        "memory_gb": ours["memory_gb"],
        "plain_memory_gb": plain["memory_gb"],
        "tokens_per_step": per_step * DOCUMENT,
        "losses": ours["losses"],
        "plain_losses": plain["losses"],
        "device": torch.cuda.get_device_name(),
    }


def _documents(count: int, seed: int) -> Iterator[Encoded]:
    generator = np.random.default_rng(seed)
    for _ in range(count):
        yield Encoded(generator.integers(10, 100_000, DOCUMENT).tolist(), [True] * DOCUMENT)


def shape() -> DeepseekV2Config:
    """DeepSeek-V2-Lite's published configuration."""
    return DeepseekV2Config(
        vocab_size=102_400,
        hidden_size=2048,
        intermediate_size=10_944,
        moe_intermediate_size=1408,
        num_hidden_layers=27,
        num_attention_heads=16,
        num_key_value_heads=16,
        n_shared_experts=2,
        n_routed_experts=64,
        num_experts_per_tok=6,
        first_k_dense_replace=1,
        q_lora_rank=None,
        kv_lora_rank=512,
        qk_rope_head_dim=64,
        qk_nope_head_dim=128,
        v_head_dim=128,
        routed_scaling_factor=1.0,
        topk_method="greedy",
        norm_topk_prob=False,
        tie_word_embeddings=False,
        use_cache=False,
    )


def _model(seed: int, attention: str) -> PreTrainedModel:
    torch.manual_seed(seed)
    with torch.device("cuda"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(
            shape(), dtype=torch.bfloat16, attn_implementation=attention
        )
    return model


def _ours(recipe: Recipe, seed: int, per_step: int) -> tuple[dict[str, Any], float]:
    run = prepare(recipe, base=_model(seed, ATTENTION))
    groups = [list(range(at, at + per_step)) for at in range(0, len(run.store), per_step)]

    def one(number: int) -> float:
        done = step(
            run,
            [collate(run.store, groups[number])],
            learning_rate=LEARNING_RATE,
            gamma=0.0,
            should_stop=lambda: False,
        )
        assert done is not None
        return done.loss

    measured = _timed(one, per_step * DOCUMENT)
    return measured, model_flops(run, groups[0]) / (per_step * DOCUMENT)


def _plain(store: TokenStore, seed: int) -> dict[str, Any]:
    gc.collect()
    torch.cuda.empty_cache()
    base = _model(seed, "sdpa")
    config = LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules=list(TARGETS))
    model = get_peft_model(base, config)
    model.train()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, fused=True)

    def one(number: int) -> float:
        rows = range(number * PLAIN_BATCH, (number + 1) * PLAIN_BATCH)
        ids = torch.from_numpy(np.stack([store.tokens(row)[0] for row in rows]).astype(np.int64))
        ids = ids.cuda()
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    return _timed(one, PLAIN_BATCH * DOCUMENT)


def _timed(one: Callable[[int], float], tokens: int) -> dict[str, Any]:
    """`one` makes the step of a number and returns its loss, a number that was waited for."""
    torch.cuda.reset_peak_memory_stats()
    speeds, losses = [], []
    for number in range(STEPS + WARM_UP):
        torch.cuda.synchronize()
        started = time.perf_counter()
        losses.append(round(one(number), 4))
        torch.cuda.synchronize()
        speeds.append(tokens / (time.perf_counter() - started))
    speeds = speeds[WARM_UP:]
    return {
        "tokens_per_s": statistics.median(speeds),
        "spread": [round(min(speeds)), round(max(speeds))],
        "memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 1),
        "losses": losses,
    }
