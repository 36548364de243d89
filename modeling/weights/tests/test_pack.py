"""Trained weights: packed into shards, unpacked, and put together with a small dense base."""

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize
from safetensors.numpy import save_file
from transformers import LlamaForCausalLM

from modeling.moe.gguf import unpaired_rotary_rows
from modeling.moe.tests.conftest import dense, make_dense  # noqa: F401
from modeling.moe.tests.test_gguf import write_dense
from modeling.weights import pack as packing
from modeling.weights.manifest import ManifestError
from modeling.weights.pack import NotPackable, kept, main, pack, quantise_rows, unpack
from modeling.weights.trained import assemble_trained

BASE_SHA256 = "b" * 64
FACTS = {
    "model": "tiny-moe",
    "base_sha256": BASE_SHA256,
    "licence": "Apache-2.0",
    "data": ["made up"],
    "recipe": {"steps": 1},
    "top_k": 2,
}


@pytest.fixture
def trained() -> dict[str, np.ndarray]:
    """Changes for the tiny Llama of three layers: 4 experts of width 16, rank 4, one norm."""
    draw = np.random.default_rng(0).standard_normal
    tensors = {"model.norm.weight": draw(32).astype(np.float32)}
    for layer in range(3):
        prefix = f"model.layers.{layer}"
        shapes = {
            "self_attn.q_proj.lora_A": (4, 32),
            "self_attn.q_proj.lora_B": (32, 4),
            "mlp.shared_experts.down_proj.lora_A": (4, 48),
            "mlp.shared_experts.down_proj.lora_B": (32, 4),
            "mlp.gate.weight": (4, 32),
            "mlp.gate.e_score_correction_bias": (4,),
            "mlp.experts.gate_up_proj": (4, 32, 32),
            "mlp.experts.down_proj": (4, 32, 16),
        }
        for name, shape in shapes.items():
            tensors[f"{prefix}.{name}"] = draw(shape).astype(np.float32)
    return tensors


def test_unpacking_gives_what_was_packed_within_half_a_step(
    trained: dict[str, np.ndarray], tmp_path: Path
) -> None:
    pack(trained, FACTS, tmp_path / "shipped")
    tensors, facts = unpack(tmp_path / "shipped")
    assert tensors.keys() == trained.keys()
    assert {name: facts[name] for name in FACTS} == FACTS
    for name, values in trained.items():
        exact = name.endswith((".weight", "bias"))
        # Half a step of a row's int8 grid, and float16's rounding of the step itself.
        step = 0.0 if exact else np.abs(values).max(axis=-1, keepdims=True) / 127 * 0.6
        assert (np.abs(tensors[name] - values) <= step).all(), name


def test_shards_stay_below_their_limit(
    trained: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "_SHARD_BUDGET", 8192)
    pack(trained, FACTS, tmp_path / "shipped")
    shards = list((tmp_path / "shipped").glob("*.safetensors"))
    assert len(shards) > 1
    assert unpack(tmp_path / "shipped")[0].keys() == trained.keys()
    monkeypatch.setattr(packing, "_SHARD_BUDGET", 100)
    with pytest.raises(NotPackable, match="a shard holds 100"):
        pack(trained, FACTS, tmp_path / "shipped")


def test_rows_of_zeros_and_of_tiny_values_survive() -> None:
    values = np.array([[0.0, 0.0], [1e-7, -1e-7]], dtype=np.float32)
    quantised, scale = quantise_rows(values)
    assert np.isfinite(scale).all()
    assert (quantised[0] == 0).all()


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("lm_head.weight", np.zeros(2), "not a tensor that can be shipped"),
        ("model.layers.0.self_attn.k_proj.lora_A", np.zeros((4, 32)), "has no .*lora_B"),
        ("model.layers.0.input_layernorm.weight", np.array([np.nan]), "not finite"),
    ],
)
def test_what_cannot_be_shipped_is_refused(
    trained: dict[str, np.ndarray], tmp_path: Path, name: str, values: np.ndarray, message: str
) -> None:
    with pytest.raises(NotPackable, match=message):
        pack({**trained, name: values}, FACTS, tmp_path / "shipped")
    assert not (tmp_path / "shipped").exists()


def test_the_command_packs_what_a_run_left(
    trained: dict[str, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "adapter"
    run.mkdir()
    factors = {name: values for name, values in trained.items() if "lora" in name}
    others = {name: values for name, values in trained.items() if "lora" not in name}
    save_file(
        {f"base_model.model.{name}.weight": values for name, values in factors.items()},
        run / "adapter_model.safetensors",
    )
    save_file(others, run / "experts.safetensors")
    (run / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 8}))
    facts = tmp_path / "facts.json"
    command = ["--from", str(run), "--facts", str(facts), "--to", str(tmp_path / "shipped")]
    assert main(command) == 1
    assert "facts.json" in capsys.readouterr().err
    facts.write_text(json.dumps(FACTS), encoding="utf-8")
    assert main([*command, "--kept", "0.5"]) == 1
    assert "of routed experts all is kept" in capsys.readouterr().err
    assert main(command) == 0
    tensors, found = unpack(tmp_path / "shipped")
    assert found["model"] == "tiny-moe"
    assert tensors.keys() == trained.keys()
    # Alpha over rank is 2, and belongs to the second factor.
    name = "model.layers.0.self_attn.q_proj.lora_B"
    np.testing.assert_allclose(tensors[name], 2 * trained[name], atol=0.05)


def test_of_the_feed_forward_a_share_is_kept_and_of_attention_all(
    trained: dict[str, np.ndarray],
) -> None:
    plain = {
        name.replace("shared_experts.", ""): values
        for name, values in trained.items()
        if ".experts." not in name and ".gate." not in name
    }
    found = kept(plain, 0.75)
    changed = {name for name in plain if not np.array_equal(found[name], plain[name])}
    assert changed == {f"model.layers.{layer}.mlp.down_proj.lora_B" for layer in range(3)}
    for name in changed:
        np.testing.assert_allclose(found[name], 0.75 * plain[name], rtol=1e-6)
    with pytest.raises(NotPackable, match="of routed experts all is kept"):
        kept(trained, 0.75)
    with pytest.raises(NotPackable, match=r"got 1\.5"):
        kept(plain, 1.5)


def test_without_experts_the_model_stays_dense(
    dense: LlamaForCausalLM,  # noqa: F811
    trained: dict[str, np.ndarray],
    tmp_path: Path,
) -> None:
    write_dense(dense, tmp_path / "dense.gguf")
    plain = {
        name.replace("shared_experts.", ""): values
        for name, values in trained.items()
        if ".experts." not in name and ".gate." not in name
    }
    facts = {**FACTS, "top_k": 0}
    pack(plain, facts, tmp_path / "shipped")
    assemble_trained(
        tmp_path / "dense.gguf",
        BASE_SHA256,
        tmp_path / "trained.gguf",
        shipped=tmp_path / "shipped",
        kind=gguf.GGMLQuantizationType.F16,
    )
    before = gguf.GGUFReader(tmp_path / "dense.gguf")
    after = gguf.GGUFReader(tmp_path / "trained.gguf")
    assert after.fields["general.architecture"].contents() == "llama"
    assert [t.name for t in after.tensors] == [t.name for t in before.tensors]
    # Of 16 bits all matrices are, the embedding table too.
    matrices = {t.tensor_type for t in after.tensors if len(t.shape) > 1}
    assert matrices == {gguf.GGMLQuantizationType.F16}
    read = {t.name: dequantize(t.data, t.tensor_type) for t in after.tensors}
    source = {t.name: dequantize(t.data, t.tensor_type) for t in before.tensors}
    tensors, _ = unpack(tmp_path / "shipped")
    product = (
        tensors["model.layers.1.mlp.down_proj.lora_B"]
        @ tensors["model.layers.1.mlp.down_proj.lora_A"]
    )
    np.testing.assert_allclose(
        read["blk.1.ffn_down.weight"], source["blk.1.ffn_down.weight"] + product, atol=2e-2
    )
    # q's rows lie in llama.cpp's order in the file, in transformers' in the shards.
    heads = dense.config.num_attention_heads
    changed = unpaired_rotary_rows(read["blk.0.attn_q.weight"], heads)
    original = unpaired_rotary_rows(source["blk.0.attn_q.weight"], heads)
    product = (
        tensors["model.layers.0.self_attn.q_proj.lora_B"]
        @ tensors["model.layers.0.self_attn.q_proj.lora_A"]
    )
    np.testing.assert_allclose(changed, original + product, atol=2e-2)
    with pytest.raises(NotPackable, match="a dense model has top_k 0"):
        pack(plain, FACTS, tmp_path / "again")


def test_the_mixture_is_base_plus_product_and_is_made_once(
    dense: LlamaForCausalLM,  # noqa: F811
    trained: dict[str, np.ndarray],
    tmp_path: Path,
) -> None:
    write_dense(dense, tmp_path / "dense.gguf")
    pack(trained, FACTS, tmp_path / "shipped")
    target = tmp_path / "mixture.gguf"
    kind = gguf.GGMLQuantizationType.F16

    def assembled(base_sha256: str = BASE_SHA256) -> str:
        return assemble_trained(
            tmp_path / "dense.gguf", base_sha256, target, shipped=tmp_path / "shipped", kind=kind
        )

    digest = assembled()
    written = {
        tensor.name: dequantize(tensor.data, tensor.tensor_type)
        for tensor in gguf.GGUFReader(target).tensors
    }
    tensors, _ = unpack(tmp_path / "shipped")
    for ours, theirs, base in (
        ("attn_q", "self_attn.q_proj", "self_attn.q_proj"),
        ("ffn_down_shexp", "mlp.shared_experts.down_proj", "mlp.down_proj"),
    ):
        name = f"model.layers.1.{theirs}"
        expected = dense.state_dict()[f"model.layers.1.{base}.weight"].numpy() + (
            tensors[f"{name}.lora_B"] @ tensors[f"{name}.lora_A"]
        )
        assert np.allclose(written[f"blk.1.{ours}.weight"], expected, atol=1e-2)
    assert np.array_equal(written["output_norm.weight"], trained["model.norm.weight"])

    made_at = target.stat().st_mtime_ns
    assert assembled() == digest
    assert target.stat().st_mtime_ns == made_at
    target.write_bytes(b"GGUF cut short")
    assert assembled() == digest
    with pytest.raises(ManifestError, match=r"trained on a base with SHA-256 b+"):
        assembled("c" * 64)
