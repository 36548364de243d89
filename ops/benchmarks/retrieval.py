"""Ranking on test collections, through the search that the product uses.

Reads every SMART collection `retrieval/NAME.tar.gz` and every BEIR folder or zip under `--data`
(with `--split`'s relevance judgements where there are several). Each collection is put into a
workspace of its own in an embedded PostgreSQL, cut and embedded as documents are, and every question
goes through `praxis.knowledge.search.search` with the default settings, but for 200 candidates of
each leg, so that a hundred documents can be found; a document's place is that of its best chunk.
`ms_p95` includes the question's encoding. `<name>_reranked_ndcg10` is with the shipped reranker over
the first 50, `rerank_ms_p95` that step alone. Nothing is fitted on these collections; docs/reference/retrieval.md says how the
defaults were chosen.
"""

import argparse
import json
import math
import os
import re
import tarfile
import tempfile
import time
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

FOUND = 100
BATCH = 64


@dataclass
class Collection:
    name: str
    documents: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Id to title and text."""
    questions: dict[str, str] = field(default_factory=dict)
    relevant: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    """Question id to document id to gain; only gains above 0."""


def run(args: argparse.Namespace) -> dict[str, Any]:
    collections = list(read_collections(args.data, args.split))
    if not collections:
        raise FileNotFoundError(2, "No test collection", str(args.data / "retrieval"))
    with tempfile.TemporaryDirectory(prefix="praxis-bench-") as directory:
        return measured(collections, Path(directory), args.limit)


def measured(collections: list[Collection], directory: Path, limit: int | None) -> dict[str, Any]:
    from praxis.local.services import embedded_services

    with embedded_services(directory, durable=False) as (database, cache):
        os.environ.update(
            DATABASE_URL=database,
            REDIS_URL=cache,
            PRAXIS_VAR=str(directory),
            DJANGO_SETTINGS_MODULE="praxis.settings",
        )
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        figures: dict[str, Any] = {"n": 0}
        seconds: list[float] = []
        rerank_milliseconds: list[float] = []
        for collection in collections:
            of_collection = evaluate(collection, limit)
            figures[f"{collection.name}_ndcg10"] = round(100 * of_collection.ndcg, 2)
            figures[f"{collection.name}_recall100"] = round(100 * of_collection.recall, 2)
            figures[f"{collection.name}_reranked_ndcg10"] = round(100 * of_collection.reranked, 2)
            figures["n"] += len(of_collection.seconds)
            seconds += of_collection.seconds
            rerank_milliseconds += of_collection.rerank_milliseconds
        figures["ms_p95"] = round(1000 * float(np.quantile(seconds, 0.95)), 1)
        figures["rerank_ms_p95"] = round(float(np.quantile(rerank_milliseconds, 0.95)), 1)
        from django.db import connections

        connections.close_all()
    return figures


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """Means over the questions, and what each search took."""

    ndcg: float
    recall: float
    reranked: float
    """nDCG@10 with the reranker."""
    seconds: list[float]
    """Of each search without the reranker."""
    rerank_milliseconds: list[float]


def evaluate(collection: Collection, limit: int | None) -> Evaluated:
    from praxis.accounts.access import Principal
    from praxis.accounts.models import Role, Workspace
    from praxis.knowledge import search as searching
    from praxis.knowledge import vector_space
    from praxis.knowledge.search_settings import SearchSettings

    encoder = _encoder()

    def embed(texts: Sequence[str], *, bulk: bool = False, model: str = "") -> list[list[float]]:
        return [[float(number) for number in vector] for vector in encoder.encode(texts)]

    searching.embed = vector_space.embed = embed
    reranker = _reranker()
    searching.rerank = lambda question, passages: reranker.score(question, passages)[0].tolist()
    slug = re.sub(r"[^a-z0-9]+", "-", collection.name.lower())
    workspace = Workspace.objects.create(name=collection.name, slug=slug)
    ids = _load(collection, workspace, encoder)
    principal = Principal(workspace=workspace, role=Role.OWNER)
    settings = SearchSettings(num_candidates=200)
    with_reranker = settings.changed(rerank=True)
    gains, recalls, seconds, reranked, rerank_milliseconds = [], [], [], [], []
    asked = [key for key in collection.questions if collection.relevant.get(key)]
    for key in asked[:limit]:
        relevant = collection.relevant[key]
        started = time.perf_counter()
        result = searching.search(
            principal=principal,
            query=collection.questions[key],
            limit=2 * FOUND,
            settings=settings,
        )
        seconds.append(time.perf_counter() - started)
        ranked = _documents(result, ids)
        gains.append(ndcg_at(10, ranked, relevant))
        recalls.append(len(set(ranked) & set(relevant)) / len(relevant))
        result = searching.search(
            principal=principal,
            query=collection.questions[key],
            limit=2 * FOUND,
            settings=with_reranker,
        )
        reranked.append(ndcg_at(10, _documents(result, ids), relevant))
        rerank_milliseconds.append(result.explanation.milliseconds["rerank"])
    return Evaluated(
        ndcg=float(np.mean(gains)),
        recall=float(np.mean(recalls)),
        reranked=float(np.mean(reranked)),
        seconds=seconds,
        rerank_milliseconds=rerank_milliseconds,
    )


def _documents(result: Any, ids: dict[Any, str]) -> list[str]:
    """In the order of their best passages."""
    return list(dict.fromkeys(ids[each.document_id] for each in result.found))[:FOUND]


def ndcg_at(depth: int, ranked: list[str], relevant: dict[str, int]) -> float:
    """Järvelin and Kekäläinen's measure with the gains as they are, as BEIR computes it."""
    ideal = sorted(relevant.values(), reverse=True)[:depth]
    best = sum(gain / math.log2(place + 2) for place, gain in enumerate(ideal))
    got = sum(
        relevant.get(document, 0) / math.log2(place + 2)
        for place, document in enumerate(ranked[:depth])
    )
    return got / best


def _encoder() -> Any:
    from modeling.retrieval.encoder import Encoder
    from modeling.weights.assemble import encoder_folder

    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    return Encoder(encoder_folder(), num_threads=os.cpu_count() or 1)


def _reranker() -> Any:
    from modeling.retrieval.reranker import WordReranker
    from modeling.weights.assemble import encoder_folder

    return WordReranker(encoder_folder())


def _load(collection: Collection, workspace: Any, encoder: Any) -> dict[Any, str]:
    """Cut, embed and store the documents as `ingestion` does; returns ids by document."""
    from django.contrib.postgres.search import SearchVector
    from django.db.models import Value

    from praxis.knowledge.chunking import split
    from praxis.knowledge.fulltext import searchable
    from praxis.knowledge.models import Chunk, Corpus, Document, DocumentVersion
    from praxis.knowledge.terms import compact

    corpus = Corpus.objects.create(workspace=workspace, name=collection.name)
    ids, chunks = {}, []
    for key, (title, text) in collection.documents.items():
        body = text or title or "-"
        document = Document.objects.create(corpus=corpus, title=key)
        version = DocumentVersion.objects.create(
            document=document,
            number=1,
            file=f"{collection.name}/{key}",
            file_name=key,
            media_type="text/plain",
            size=len(body),
            sha256="0" * 64,
            text=body,
            state=DocumentVersion.State.READY,
        )
        Document.objects.filter(pk=document.pk).update(current_version=version)
        ids[document.pk] = key
        for span in split(body, [["paragraph", 0, len(body), 0]], []):
            chunks.append((version, span, title, body[span.start : span.end]))
    (passages,) = encoder.for_bulk(1)
    for first in range(0, len(chunks), BATCH):
        batch = chunks[first : first + BATCH]
        vectors, _ = passages.encode_counted([f"{title}\n{text}" for _, _, title, text in batch])
        Chunk.objects.bulk_create(
            Chunk(
                version=version,
                workspace=workspace,
                ordinal=span.ordinal,
                start=span.start,
                end=span.end,
                heading=title,
                text=text,
                embedding=vector.tolist(),
                search=SearchVector(Value(searchable(title)), config="english", weight="B")
                + SearchVector(Value(searchable(text)), config="english", weight="A"),
            )
            for (version, span, title, text), vector in zip(batch, vectors, strict=True)
        )
    compact(workspace.pk)
    return ids


# Reading the collections ---------------------------------------------------------------------------


def read_collections(data: Path, split: str) -> Iterator[Collection]:
    for path in sorted((data / "retrieval").glob("*.tar.gz")):
        yield read_smart(path)
    for path in sorted(data.rglob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            inside = zipfile.Path(archive)
            for name in names:
                if name.endswith("corpus.jsonl"):
                    folder = inside
                    for part in name.split("/")[:-1]:
                        folder = folder / part
                    yield read_beir(folder, path.stem, split)
    for path in sorted(data.rglob("corpus.jsonl")):
        yield read_beir(path.parent, path.parent.name, split)


def read_smart(path: Path) -> Collection:
    """`.I .T .W` documents and questions, and a file of relevance pairs; names differ by set."""
    collection = Collection(path.name.removesuffix(".tar.gz"))
    texts: dict[str, str] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and (file := archive.extractfile(member)):
                texts[member.name.rsplit("/", 1)[-1].lower()] = file.read().decode("latin-1")

    def named(*endings: str) -> str:
        name = next(name for ending in endings for name in texts if name.endswith(ending))
        return texts[name]

    for key, fields in _records(named(".all", ".all.1400", "all")).items():
        collection.documents[key] = (_flat(fields["T"]), _flat(fields["W"]))
    questions = list(_records(named(".qry", "qry")).items())
    pairs = [line.split() for line in named(".rel", "qrel", ".qrels").splitlines()]
    pairs = [pair for pair in pairs if len(pair) >= 2]
    # Cranfield's judgements count its questions from 1; their own numbers have gaps.
    asked = {pair[0].lstrip("0") for pair in pairs}
    by_place = not asked <= {key for key, _ in questions}
    for place, (key, fields) in enumerate(questions, 1):
        collection.questions[str(place) if by_place else key] = _flat(fields["W"])
    for pair in pairs:
        # MED's pairs have a 0 between question and document, as TREC's do.
        document = pair[2] if len(pair) == 4 and pair[1] == "0" else pair[1]
        if len(pair) == 3 and int(pair[2]) <= 0:
            continue  # Cranfield's -1 is "of no interest"
        if document.lstrip("0") in collection.documents:
            collection.relevant[pair[0].lstrip("0")][document.lstrip("0")] = 1
    return collection


def _records(text: str) -> dict[str, dict[str, str]]:
    records: dict[str, dict[str, str]] = {}
    for part in re.split(r"(?m)^\.I\s+", text)[1:]:
        number, _, rest = part.partition("\n")
        fields: dict[str, str] = defaultdict(str)
        name = ""
        for line in rest.splitlines():
            if match := re.match(r"\.([A-Z])\s*$", line):
                name = match[1]
            elif name:
                fields[name] += line + "\n"
        records[number.strip().lstrip("0")] = fields
    return records


def _flat(text: str) -> str:
    return " ".join(text.split())


def read_beir(folder: Any, name: str, split: str) -> Collection:
    """`corpus.jsonl`, `queries.jsonl` and `qrels/*.tsv` of a folder or of a zip's inside."""
    collection = Collection(name)
    for line in (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        collection.documents[str(row["_id"])] = (_flat(row.get("title") or ""), _flat(row["text"]))
    for line in (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        collection.questions[str(row["_id"])] = _flat(row["text"])
    judged = {path.name: path for path in (folder / "qrels").iterdir()}
    path = judged.get(f"{split}.tsv") or judged.get("test.tsv") or next(iter(judged.values()))
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        question, document, gain = line.split("\t")
        if int(gain) > 0:
            collection.relevant[question][document] = int(gain)
    return collection
