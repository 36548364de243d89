"""A BERT encoder for many texts on a CPU: no padding, one product for all texts, int8 where it pays.

Texts stand one behind the other as rows of one matrix, so that the linear layers, where nearly all the
time goes, compute no padding; attention runs for each text by itself. On x86 the weights of the linear
layers are int8 by row and the activations while it computes (dynamic quantisation as in Zafrir et al.,
"Q8BERT", 2019). Together that is 2.4 times the tokens per CPU second of padded batches in float32 (1.6
times without int8), at a cosine of 0.993 to their vectors.

With the AVX-512 instructions for int8 and bfloat16 (Zen 4, Cooper Lake, Sapphire Rapids and later)
oneDNN does the products, adding the residual or applying GELU as it writes, and attention runs in
bfloat16: 1.2 times the tokens per CPU second of int8 without them, measured on a busy Zen 4, at a
cosine of 0.995 to the exact vectors, as int8 without them on the same texts.
"""

import contextlib
import ctypes
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from math import e, log2, sqrt
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers import Tokenizer
from torch import Tensor
from transformers import BertModel

Vectors = npt.NDArray[np.float32]
Arithmetic = Literal["float32", "int8", "avx512"]
"""What the linear layers compute in; `avx512` is int8 with attention in bfloat16."""

PACKED_TOKENS = 768
"""Rows of one matrix: the largest activation, four times the model's width in float32, stays in the
cache of a core or close to it."""
ROWS_STEP = 32
"""oneDNN prepares a product for each number of rows anew; so there are few."""
KEPT_BYTES = 64 << 20
"""Of each thread, at most; see `_keep_freed_memory`. glibc allows no more."""


class PackedEncoder:
    """Safe to call from several threads at once; it has no state."""

    def __init__(self, model: SentenceTransformer, *, arithmetic: Arithmetic | None = None) -> None:
        """`arithmetic`: None decides by the processor. Raises `TypeError` for a model of another
        form."""
        transformer, pooling, *rest = model
        if not (
            isinstance(transformer, Transformer)
            and isinstance(pooling, Pooling)
            and isinstance(bert := transformer.auto_model, BertModel)
            and pooling.pooling_mode == "mean"
            and all(isinstance(each, Normalize) for each in rest)
        ):
            raise TypeError("only a BERT model with mean pooling can be packed")
        if arithmetic is None:
            arithmetic = best_arithmetic()
        if arithmetic == "avx512" and bert.config.hidden_act != "gelu":
            arithmetic = "int8"
        layer_of: dict[Arithmetic, Callable[[Any], _PackedLayer]] = {
            "float32": _layer_in_float32,
            "int8": _layer_in_int8,
            "avx512": _Avx512Layer,
        }
        self._rows_step = ROWS_STEP if arithmetic == "avx512" else 1
        _keep_freed_memory()
        self._tokenizer = Tokenizer.from_str(model.tokenizer.backend_tokenizer.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._limit = int(transformer.max_seq_length)
        with torch.inference_mode():
            self._words = bert.embeddings.word_embeddings.weight.detach()
            self._places = (
                bert.embeddings.position_embeddings.weight
                + bert.embeddings.token_type_embeddings.weight[0]
            )
            self._norm = bert.embeddings.LayerNorm
            self._layers = [layer_of[arithmetic](layer) for layer in bert.encoder.layer]

    def encode_counted(self, texts: Sequence[str]) -> tuple[Vectors, list[int]]:
        """Unit vectors of shape (len(texts), width), float32, and the tokens of each whole text; those
        beyond the encoder's limit have no influence."""
        rows = [each.ids for each in self._tokenizer.encode_batch(list(texts))]
        cut = [
            ids if len(ids) <= self._limit else ids[: self._limit - 1] + ids[-1:] for ids in rows
        ]
        with torch.inference_mode():
            vectors = torch.cat([self._encode(group) for group in _grouped(cut)])
        return vectors.numpy(), [len(ids) for ids in rows]

    def _encode(self, texts: list[list[int]]) -> Tensor:
        lengths = [len(ids) for ids in texts]
        num_rows = sum(lengths)
        padding = -num_rows % self._rows_step
        x = self._words[torch.tensor([token for ids in texts for token in ids] + [0] * padding)]
        x[:num_rows] += torch.cat([self._places[:length] for length in lengths])
        x = self._norm(x)
        ends = list(accumulate(lengths))
        spans = [slice(end - length, end) for length, end in zip(lengths, ends, strict=True)]
        for layer in self._layers:
            x = layer(x, spans)
        return F.normalize(torch.stack([x[span].mean(dim=0) for span in spans]), dim=1)


class _Layer:
    def __init__(self, layer: Any, linear: "Callable[[Tensor, Tensor], _Linear]") -> None:
        """`layer`: a `transformers` `BertLayer`."""
        attention, feed_forward = layer.attention, layer.output
        inputs = [attention.self.query, attention.self.key, attention.self.value]
        self._inputs = linear(
            torch.cat([each.weight for each in inputs]), torch.cat([each.bias for each in inputs])
        )
        self._num_heads = attention.self.num_attention_heads
        self._attended = linear(attention.output.dense.weight, attention.output.dense.bias)
        self._attention_norm = attention.output.LayerNorm
        self._up = linear(layer.intermediate.dense.weight, layer.intermediate.dense.bias)
        self._activation = layer.intermediate.intermediate_act_fn
        self._down = linear(feed_forward.dense.weight, feed_forward.dense.bias)
        self._norm = feed_forward.LayerNorm

    def __call__(self, x: Tensor, spans: list[slice]) -> Tensor:
        width = x.shape[1]
        heads = self._inputs(x).view(len(x), 3, self._num_heads, width // self._num_heads)
        attended = torch.empty_like(x)
        for span in spans:
            query, key, value = heads[span].permute(1, 2, 0, 3).unsqueeze(1)
            found = F.scaled_dot_product_attention(query, key, value)
            attended[span] = found[0].transpose(0, 1).reshape(-1, width)
        x = self._attention_norm(self._attended(attended).add_(x))
        x = self._norm(self._down(self._activation(self._up(x))).add_(x))
        return x


_Linear = Callable[[Tensor], Tensor]
_PackedLayer = Callable[[Tensor, list[slice]], Tensor]


def _layer_in_float32(layer: Any) -> _Layer:
    return _Layer(layer, lambda weight, bias: lambda x: F.linear(x, weight, bias))


def _layer_in_int8(layer: Any) -> _Layer:
    return _Layer(layer, _int8_linear)


def _int8_linear(weight: Tensor, bias: Tensor) -> _Linear:
    scales = _row_scales(weight)
    zeros = torch.zeros(len(scales), dtype=torch.long)
    with _without_deprecation():
        rows = torch.quantize_per_channel(weight.detach(), scales.double(), zeros, 0, torch.qint8)
    packed = torch.ops.quantized.linear_prepack(rows, bias.detach())
    return lambda x: torch.ops.quantized.linear_dynamic(x, packed)


class _Avx512Layer:
    def __init__(self, layer: Any) -> None:
        """`layer`: a `transformers` `BertLayer` with GELU."""
        attention, feed_forward = layer.attention, layer.output
        query, key, value = attention.self.query, attention.self.key, attention.self.value
        self._num_heads = attention.self.num_attention_heads
        # So that the softmax is a power of two of the products as they come.
        scale = log2(e) / sqrt(len(query.weight) // self._num_heads)
        self._inputs = _OneDnnLinear(
            torch.cat([query.weight * scale, key.weight, value.weight]),
            torch.cat([query.bias * scale, key.bias, value.bias]),
        )
        self._attended = _OneDnnLinear(attention.output.dense.weight, attention.output.dense.bias)
        self._attention_norm = attention.output.LayerNorm
        self._up = _OneDnnLinear(layer.intermediate.dense.weight, layer.intermediate.dense.bias)
        self._down = _OneDnnLinear(feed_forward.dense.weight, feed_forward.dense.bias)
        self._norm = feed_forward.LayerNorm

    def __call__(self, x: Tensor, spans: list[slice]) -> Tensor:
        heads = self._inputs(x, output=torch.bfloat16).view(len(x), 3, self._num_heads, -1)
        attended = torch.zeros_like(x)
        for span in spans:
            query, key, value = heads[span].permute(1, 2, 0, 3)
            by_head = attended[span].view(key.shape[1], self._num_heads, -1).transpose(0, 1)
            _attend(query, key, value, out=by_head)
        x = self._attention_norm(self._attended.added(attended, x))
        return self._norm(self._down.added(self._up(x, post="gelu"), x))


def _attend(query: Tensor, key: Tensor, value: Tensor, *, out: Tensor) -> None:
    """The value's mean by softmax in base 2; shape (heads, tokens, width of a head), bfloat16, into
    float32. `F.scaled_dot_product_attention` takes twice the time at this size."""
    weights = torch.bmm(query, key.transpose(1, 2)).exp2_()
    totals = weights.sum(dim=-1, keepdim=True)
    least, most = torch.aminmax(totals)
    if not (least > 2.0**-100 and most < 2.0**100):
        # Products so large are rare enough to pay for their maximum only then.
        scores = torch.bmm(query, key.transpose(1, 2))
        weights = scores.sub_(scores.amax(dim=-1, keepdim=True)).exp2_()
        totals = weights.sum(dim=-1, keepdim=True)
    torch.div(torch.bmm(weights, value), totals, out=out)


class _OneDnnLinear:
    """As the compiled models of PyTorch compute a quantised linear layer."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._scales = _row_scales(weight.detach())
        rows = (weight.detach() / self._scales[:, None]).round().to(torch.int8)
        self._rows = torch.ops.onednn.qlinear_prepack(rows, None)
        self._zeros = torch.zeros(len(rows), dtype=torch.long)
        self._bias = bias.detach()
        with _without_deprecation():
            _quantised(torch.zeros(1, 1))

    def __call__(
        self, x: Tensor, *, output: torch.dtype = torch.float32, post: str = "none"
    ) -> Tensor:
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            *_quantised(x),
            *(self._rows, self._scales, self._zeros, self._bias),
            *(1.0, 0, output),
            *(post, [], "none"),
        )
        return product

    def added(self, x: Tensor, residual: Tensor) -> Tensor:
        """Overwrites `residual`."""
        total: Tensor = torch.ops.onednn.qlinear_pointwise.binary(
            *_quantised(x),
            *(self._rows, self._scales, self._zeros, residual, self._bias),
            *(1.0, 0, torch.float32),
            *(1.0, 0, "sum", 1.0),
            *("none", [], ""),
        )
        return total


def _quantised(x: Tensor) -> tuple[Tensor, float, int]:
    """As uint8, with scale and zero point."""
    least, most = (float(each) for each in torch.aminmax(x))
    least, most = min(least, 0.0), max(most, 0.0)
    scale = max((most - least) / 255, 1e-12)
    zero = round(-least / scale)
    with_type = torch.quantize_per_tensor(x, scale, zero, torch.quint8)
    # The same bytes; `int_repr` would copy them one by one.
    plain = torch.empty(0, dtype=torch.uint8)
    plain.set_(with_type.untyped_storage(), 0, with_type.shape, with_type.stride())
    return plain, scale, zero


def _keep_freed_memory() -> None:
    """Have glibc keep what a layer frees for the next. By default it gives the pages back, and the
    system clears them again for each layer, which takes a tenth of the time."""
    if sys.platform != "linux":
        return
    allocator = ctypes.CDLL(None)
    if hasattr(allocator, "mallopt"):  # musl has none
        trim_threshold, mmap_threshold = -1, -3
        allocator.mallopt(trim_threshold, KEPT_BYTES)
        allocator.mallopt(mmap_threshold, KEPT_BYTES // 2)


@contextlib.contextmanager
def _without_deprecation() -> Iterator[None]:
    """It is said once a process, here. To be removed some day; torch is pinned, and what is to replace
    it is slower than float32 (`torch._int_mm` on AVX2, each conversion to uint8 everywhere)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*quantize_per", UserWarning)
        yield


def _row_scales(weight: Tensor) -> Tensor:
    return weight.detach().abs().amax(dim=1).clamp_min(1e-12) / 127


def best_arithmetic() -> Arithmetic:
    """Of this processor."""
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        return "float32"
    can = torch.cpu.get_capabilities()
    return "avx512" if can.get("avx512_vnni") and can.get("avx512_bf16") else "int8"


def _grouped(texts: list[list[int]]) -> Iterator[list[list[int]]]:
    group: list[list[int]] = []
    used = 0
    for ids in texts:
        if group and used + len(ids) > PACKED_TOKENS:
            yield group
            group, used = [], 0
        group.append(ids)
        used += len(ids)
    yield group
