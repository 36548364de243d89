"""From a question to the first word of its answer, with a large corpus behind it.

A running installation gets 100,000 chunks: some are real passages of MedQuAD, embedded by the
shipped encoder; the others are mixed from their sentences, with the mean vector of the mixed ones
and noise on it, so that words are as frequent and vectors lie as close as in text of one trade.
Then questions about the real ones are asked over REST, each in a new conversation, and the stream is
read up to the first piece of text. The embedded model words the answers; the quotes, which need no
model, are timed as well. `--limit` changes the number of questions.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

from modeling.training.mix.items import rows
from ops.installation import running

CHUNKS, REAL = 100_000, 1_000
CHUNKS_A_DOCUMENT = 50
QUESTIONS = 60
WORDS = 120
"""Of a chunk; MedQuAD's passages are about as long after splitting."""
NOISE = 0.6
"""Length of the noise beside a mixed vector of length 1."""


def run(args: argparse.Namespace) -> dict[str, Any]:
    chance = random.Random(args.seed)
    pairs = [
        (row["focus"], pair["q"], " ".join(pair["a"].split()[:WORDS]))
        for row in rows(args.data / "medical" / "medquad.jsonl.xz")
        for pair in row["qa"]
        if row["focus"] and len(pair["a"].split()) >= 30
    ]
    chosen = chance.sample(pairs, REAL)
    with running(environment={"PRAXIS_DOMAIN_APPS": "tests.document_desk"}) as installation:
        api = installation.rest("knowledge:read", "chat", "conversations:write")
        installation.connect_django()
        started = time.perf_counter()
        _fill(chosen, args.seed)
        filled_s = time.perf_counter() - started
        questions = [question for _, question, _ in chosen[: args.limit or QUESTIONS]]
        warm_up = [question for _, question, _ in chosen[-5:]]
        quoted = _ask_all(api, warm_up, questions)
        installation.set_assistant(
            "desk", documents="model", documents_threshold=0.05, lower_threshold=0.05
        )
        worded = _ask_all(api, warm_up, questions)
        retrieval = [_retrieval_ms(api, question) for question in [*warm_up, *questions]][5:]
    return {
        "n": len(questions),
        "chunks": CHUNKS,
        "filled_s": round(filled_s),
        "ttft_ms_p50": percentile(worded, 0.5),
        "ttft_ms_p95": percentile(worded, 0.95),
        "quote_ttft_ms_p50": percentile(quoted, 0.5),
        "quote_ttft_ms_p95": percentile(quoted, 0.95),
        "retrieval_ms_p50": percentile([sum(one.values()) for one in retrieval], 0.5),
        "retrieval_ms_p95": percentile([sum(one.values()) for one in retrieval], 0.95),
        "retrieval_ms_by_step": {
            step: round(statistics.median(one[step] for one in retrieval), 1)
            for step in retrieval[0]
        },
    }


def _ask_all(api: httpx.Client, warm_up: Sequence[str], questions: Sequence[str]) -> list[float]:
    def ask(question: str) -> float:
        conversation = api.post("/conversations", json={"assistant": "desk"}).json()["id"]
        return first_token_ms(api, conversation, question)

    for question in warm_up:
        ask(question)
    return [ask(question) for question in questions]


def first_token_ms(api: httpx.Client, conversation: str, question: str) -> float:
    """Milliseconds from sending the question to the first text; the answer is read to its end."""
    address = f"/conversations/{conversation}/messages"
    started = time.perf_counter()
    first = None
    with api.stream("POST", address, json={"text": question, "stream": True}) as stream:
        for line in stream.iter_lines():
            if first is None and line.startswith("data:") and '"kind": "token"' in _spaced(line):
                first = time.perf_counter()
    assert first is not None, "an answer without a word"
    return (first - started) * 1000


def _spaced(line: str) -> str:
    """The line's JSON as this module compares it."""
    try:
        return json.dumps(json.loads(line.removeprefix("data:")))
    except ValueError:
        return ""


def _retrieval_ms(api: httpx.Client, question: str) -> dict[str, float]:
    body = {"query": question, "limit": 4, "assistant": "desk", "explain": True}
    found = api.post("/search", json=body).raise_for_status().json()
    steps: dict[str, float] = found["explanation"]["milliseconds"]
    return steps


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)


# The corpus -----------------------------------------------------------------------------------------

_INSERT = """
    INSERT INTO knowledge_chunk
        (version_id, workspace_id, ordinal, start, "end", heading, text, search_text, access,
         metadata, embedding, search)
    SELECT version_id, %s, ordinal, start, stop, heading, text, '', '{}', '{}', vector::halfvec,
           setweight(to_tsvector('english', heading), 'B')
           || setweight(to_tsvector('english', text), 'A')
    FROM bench_chunk
"""


def _fill(chosen: Sequence[tuple[str, str, str]], seed: int) -> None:
    """The chunks with everything that ingestion would give them, but in bulk.

    The vector index is built afterwards in one go, which is many times faster.
    """
    from django.db import connection, transaction

    from praxis.accounts.models import Workspace
    from praxis.assistants.language_model import embed
    from praxis.knowledge.models import Chunk, Corpus
    from praxis.knowledge.terms import compact

    workspace = Workspace.objects.get(slug="demo")
    corpus = Corpus.objects.create(workspace=workspace, name="Large")
    vectors = np.array(embed([f"{focus}\n{text}" for focus, _, text in chosen]))
    headings, texts, mixed = _mixed(chosen, vectors, seed)
    places = _documents(corpus, texts)
    index = next(one for one in Chunk._meta.indexes if one.name == "chunk_nearest")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"DROP INDEX {index.name}")
        cursor.execute(
            "CREATE TEMPORARY TABLE bench_chunk (version_id uuid, ordinal int, start int, stop int,"
            " heading text, text text, vector text) ON COMMIT DROP"
        )
        with cursor.copy("COPY bench_chunk FROM STDIN") as out:
            for place, heading, text, vector in zip(places, headings, texts, mixed, strict=True):
                written = ",".join(f"{value:.5f}" for value in vector)
                out.write_row((*place, heading, text, f"[{written}]"))
        cursor.execute(_INSERT, [workspace.pk])
    compact(workspace.pk)
    with connection.cursor() as cursor:
        cursor.execute("SET maintenance_work_mem = '1GB'")
        cursor.execute(str(index.create_sql(Chunk, connection.schema_editor())))
        cursor.execute("VACUUM ANALYZE knowledge_chunk")
        cursor.execute("ANALYZE")


def _mixed(
    chosen: Sequence[tuple[str, str, str]], vectors: npt.NDArray[np.float64], seed: int
) -> tuple[list[str], list[str], npt.NDArray[np.float32]]:
    """Headings, texts and unit vectors of all chunks, the real ones first."""
    numbers = np.random.default_rng(seed)
    sentences = [text.split(". ") for _, _, text in chosen]
    headings, texts = [focus for focus, _, _ in chosen], [text for _, _, text in chosen]
    all_vectors = np.empty((CHUNKS, vectors.shape[1]), dtype=np.float32)
    all_vectors[: len(chosen)] = vectors
    for number in range(len(chosen), CHUNKS):
        mixed = numbers.integers(len(chosen), size=3)
        parts = [sentences[one][numbers.integers(len(sentences[one]))] for one in mixed]
        texts.append(". ".join(parts)[:1000] or "Nothing.")
        headings.append(chosen[mixed[0]][0])
        noise = numbers.normal(size=vectors.shape[1])
        vector = vectors[mixed].mean(axis=0) + NOISE * noise / np.linalg.norm(noise)
        all_vectors[number] = vector / np.linalg.norm(vector)
    return headings, texts, all_vectors


def _documents(corpus: Any, texts: Sequence[str]) -> list[tuple[Any, int, int, int]]:
    """A document for every fifty chunks; of each chunk its version, number, start and end."""
    from praxis.knowledge.models import Document, DocumentVersion

    places = []
    for first in range(0, len(texts), CHUNKS_A_DOCUMENT):
        own = texts[first : first + CHUNKS_A_DOCUMENT]
        document = Document.objects.create(corpus=corpus, title=f"Volume {first}")
        version = DocumentVersion.objects.create(
            document=document,
            number=1,
            file_name="volume.txt",
            size=1,
            text="\n\n".join(own),
            state="ready",
        )
        document.current_version = version
        document.save(update_fields=["current_version"])
        start = 0
        for ordinal, text in enumerate(own):
            places.append((version.pk, ordinal, start, start + len(text)))
            start += len(text) + 2
    return places
