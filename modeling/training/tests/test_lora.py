from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import gguf
import peft
import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from transformers import AutoModelForCausalLM, PreTrainedModel

from modeling.moe.upcycle import Experts, upcycle, upcycle_checkpoint
from modeling.training.lora import (
    add_adapter,
    load_base,
    merge_adapter,
    resolve_dtype,
    save_adapter,
)
from modeling.training.recipe import Lora, Recipe
from modeling.training.tests.test_trainer import trained
from modeling.weights.manifest import verify_manifest

TOKENS = torch.tensor([[5, 17, 9, 40, 3, 88]])


def logits(model: torch.nn.Module) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return model(input_ids=TOKENS, use_cache=False, bounds=(0, TOKENS.shape[1])).logits


def test_a_fresh_adapter_changes_nothing(model_dir: Path) -> None:
    base = load_base(model_dir, torch.float32)
    before = logits(base)
    assert torch.equal(logits(add_adapter(base, Lora(rank=4), seed=0)), before)


def test_exactly_the_named_layers_are_trainable(model_dir: Path) -> None:
    lora = Lora(rank=4, target_modules=("q_proj", "down_proj"))
    model = add_adapter(load_base(model_dir, torch.float32), lora, seed=0)
    trainable = sorted(name for name, p in model.named_parameters() if p.requires_grad)
    assert trainable == sorted(
        f"base_model.model.model.layers.{layer}.{module}.lora_{half}.default.weight"
        for layer in (0, 1)
        for module in ("self_attn.q_proj", "mlp.down_proj")
        for half in "AB"
    )


def test_the_adapter_is_float32_on_a_bfloat16_base(model_dir: Path) -> None:
    model = add_adapter(load_base(model_dir, torch.bfloat16), Lora(rank=4), seed=0)
    kinds = {(p.requires_grad, p.dtype) for p in model.parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}


def test_merged_equals_unmerged(model_dir: Path) -> None:
    model = add_adapter(load_base(model_dir, torch.float32), Lora(rank=4), seed=0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    unmerged = logits(model)
    assert not torch.allclose(unmerged, logits(load_base(model_dir, torch.float32)), atol=1e-2)
    model.merge_adapter()
    torch.testing.assert_close(logits(model), unmerged, atol=1e-4, rtol=1e-4)


def test_dropout_is_active_in_training_only(model_dir: Path) -> None:
    model = add_adapter(load_base(model_dir, torch.float32), Lora(rank=4, dropout=0.5), seed=0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    assert torch.equal(logits(model), logits(model))
    model.train()
    with torch.no_grad():
        one, other = (
            model(input_ids=TOKENS, use_cache=False, bounds=(0, 6)).logits for _ in range(2)
        )
    assert not torch.equal(one, other)


def test_plain_peft_reads_what_was_saved(model_dir: Path, tmp_path: Path) -> None:
    model = add_adapter(load_base(model_dir, torch.float32), Lora(rank=4), seed=0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    save_adapter(model, tmp_path / "adapter")
    names = sorted(path.name for path in (tmp_path / "adapter").iterdir())
    assert names == ["adapter_config.json", "adapter_model.safetensors"]
    plain = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    with pytest.warns(FutureWarning):
        read = peft.PeftModel.from_pretrained(plain, tmp_path / "adapter")
    with torch.no_grad():
        again = read.eval()(input_ids=TOKENS).logits
    torch.testing.assert_close(again, logits(model), atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_adapter_of_a_mixtures_shared_experts_is_merged_whole(
    model_dir: Path, tmp_path: Path
) -> None:
    def mixture() -> PreTrainedModel:
        experts = Experts(number=4, width=16, top_k=2)
        return upcycle(load_base(model_dir, torch.float32), experts, seed=0)

    model = add_adapter(mixture(), Lora(rank=4), seed=0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    save_adapter(model, tmp_path)
    merged = merge_adapter(mixture(), tmp_path)
    torch.testing.assert_close(logits(merged), logits(model), atol=1e-4, rtol=1e-4)


def test_a_missing_base_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no base model in"):
        load_base(tmp_path, torch.float32)


def test_auto_takes_the_faster_type_and_a_choice_is_kept() -> None:
    cpu = torch.device("cpu")
    assert resolve_dtype("bf16", cpu) == torch.bfloat16
    assert resolve_dtype("fp32", cpu) == torch.float32
    assert resolve_dtype("auto", cpu) in (torch.float32, torch.bfloat16)


def test_the_exported_folder_is_whole_and_says_where_it_comes_from(
    make_recipe: Callable[..., Recipe],
) -> None:
    from modeling.training import export

    recipe = make_recipe(steps=2, model_name="tiny-llama")
    result, _ = trained(recipe)
    folder = export.export(recipe, result)
    manifest = verify_manifest(
        folder, ["adapter_model.safetensors", "adapter_config.json", "adapter.gguf"]
    )
    assert manifest["base_model"] == "tiny-llama"
    assert manifest["result"]["eval_loss"] == result.eval_loss
    assert manifest["recipe"]["lora"]["rank"] == 4
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny-llama"
    reader = gguf.GGUFReader(folder / "adapter.gguf")
    assert len(reader.tensors) == 2 * 7 * 2
    assert not (recipe.output / "adapter.part").exists()


def test_the_experts_of_a_mixture_get_an_adapter(
    make_recipe: Callable[..., Recipe], model_dir: Path, tmp_path: Path
) -> None:
    from modeling.training import export

    mixture = tmp_path / "mixture"
    shutil.copytree(model_dir, mixture)
    upcycle_checkpoint(model_dir, mixture, Experts(number=4, width=16, top_k=2), seed=0)
    lora = Lora(
        rank=2,
        alpha=4,
        target_modules=("q_proj",),
        target_parameters=("mlp.experts.gate_up_proj", "mlp.experts.down_proj"),
    )
    recipe = make_recipe(steps=3, model_path=str(mixture), lora=lora)
    result, _ = trained(recipe)
    folder = export.export(recipe, result)
    written = {tensor.name: tensor for tensor in gguf.GGUFReader(folder / "adapter.gguf").tensors}
    assert len(written) == 2 * (1 + 3) * 2
    # Innermost first: rank, width of the experts, experts.
    learnt = written["blk.1.ffn_down_exps.weight.lora_b"]
    assert [int(size) for size in learnt.shape] == [2, 32, 4]
    # It begins as zero, so what is in it was learnt; each expert that fired has some.
    assert sum(bool(expert.any()) for expert in learnt.data) >= 3


# Dynamo itself makes an instance of the autograd function.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_compiled_layers_compute_the_same_and_serve_every_length(model_dir: Path) -> None:
    base = load_base(model_dir, torch.float32)
    add_adapter(base, Lora(rank=4), seed=0)
    layer = base.model.layers[0].mlp.up_proj
    torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.1)
    # Tracing and the backward graph are as on a GPU; only the last step, to kernels, is left out.
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(layer.forward, backend=counter, dynamic=True)
    try:
        for length in (5, 9, 14):
            results = []
            for forward in (layer.forward, compiled):
                x = torch.linspace(-1, 1, length * layer.in_features).view(1, length, -1)
                x.requires_grad_()
                layer.zero_grad()
                out = forward(x)
                out.sin().sum().backward()
                results.append(
                    [out, x.grad, *(w.grad for w in layer.parameters() if w.grad is not None)]
                )
            assert len(results[0]) == 4
            for plain, fused in zip(*results, strict=True):
                assert torch.allclose(plain, fused, atol=1e-5)
        assert counter.frame_count == 1
    finally:
        torch.compiler.reset()
