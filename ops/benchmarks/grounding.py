"""Whether questions are answered from the right document, and not answered where there is none.

Documents of MedQuAD are put into a running installation; questions about them are answerable,
questions about documents that were left out are not. The figures are those of the extractive chain
at the assistants' default lower threshold. `fit` holds the coefficients that
`praxis.assistants.grounded.answer_confidence` would get from the questions of the even documents;
everything else is measured on those of the odd ones.
"""

import argparse
import json
import lzma
import os
import random
import re
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from ops.installation import ROOT, running

LOWER_THRESHOLD = 0.35
SCOPES = ("knowledge:read", "knowledge:write")


def run(args: argparse.Namespace) -> dict[str, Any]:
    with lzma.open(args.data / "medical" / "medquad.jsonl.xz", "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["qa"] and row["focus"]]
    for row in rows:
        # The set's own ids repeat between its sources, and some are missing.
        row["id"] = sha256(row["url"].encode() + row["focus"].encode()).hexdigest()[:16]
    sample = random.Random(args.seed).sample(rows, min(args.limit or 240, len(rows)))
    known, unknown = sample[: len(sample) * 2 // 3], sample[len(sample) * 2 // 3 :]
    titles = {row["focus"].lower() for row in known}
    unknown = [row for row in unknown if row["focus"].lower() not in titles]
    with running(environment={"PRAXIS_DOMAIN_APPS": "tests.tiny_domain"}) as installation:
        key = installation.make_key(installation.sign_in(), *SCOPES)
        api = httpx.Client(
            base_url=f"{installation.address}/api/v1",
            headers={"authorization": f"Bearer {key}"},
            timeout=60,
        )
        corpus = api.post("/corpora", json={"name": "MedQuAD"}).json()["id"]
        for row in known:
            # Without the questions: as headings they would answer themselves.
            text = f"# {row['focus']}\n\n" + "\n\n".join(pair["a"] for pair in row["qa"])
            files = {"file": (f"{row['id']}.md", text.encode(), "text/markdown")}
            answer = api.post(
                f"/corpora/{corpus}/documents", files=files, data={"title": row["id"]}
            )
            answer.raise_for_status()
        _wait_until_read(api, corpus, len(known))
        answers = {
            row["id"]: {
                other["id"]
                for other in known
                if other["focus"].lower() == row["focus"].lower()
                and row["qa"][0]["type"] in {pair["type"] for pair in other["qa"]}
            }
            for row in known
        }
        asked = [_ask(api, row, corpus, answers[row["id"]]) for row in known]
        asked += [_ask(api, row, corpus, set()) for row in unknown]
    features = _features(asked)
    even = np.array([number % 2 == 0 for number in range(len(asked))])
    label = np.array([one["right"] for one in asked], dtype=float)
    answerable = np.array([one["answerable"] for one in asked])
    coefficients = _fit(features[even], label[even])
    confidence = np.array([one["confidence"] for one in asked])
    told = confidence >= LOWER_THRESHOLD
    odd = ~even
    return {
        "n": int(odd.sum()),
        "source_at_1": _share(label[odd & answerable]),
        "source_at_3": _share(np.array([one["right3"] for one in asked])[odd & answerable]),
        "answer_rate": _share(told[odd & answerable]),
        "abstain_recall": _share(~told[odd & ~answerable]),
        **_support_figures(
            [one for one, is_odd in zip(asked, odd, strict=True) if is_odd], args.seed
        ),
        "calibration_error": round(_calibration_error(confidence[odd], label[odd]), 4),
        "fit": [round(float(value), 2) for value in coefficients],
    }


def _wait_until_read(api: httpx.Client, corpus: str, count: int) -> None:
    while True:
        documents: list[dict[str, Any]] = []
        while page := api.get(
            f"/corpora/{corpus}/documents", params={"limit": 100, "offset": len(documents)}
        ).json():
            documents += page
        ready = sum(
            any(version["state"] == "ready" for version in one["versions"]) for one in documents
        )
        if ready >= count:
            return
        time.sleep(3)


def _ask(api: httpx.Client, row: dict[str, Any], corpus: str, sources: set[str]) -> dict[str, Any]:
    """`sources`: ids of the documents that answer the row's first question; none: unanswerable."""
    question = row["qa"][0]["q"]
    body = {"query": question, "limit": 4, "corpus_ids": [corpus]}
    passages = api.post("/search", json=body).json()["passages"]
    titles = [passage["title"] for passage in passages]
    return {
        "question": question,
        "passages": passages,
        "answerable": bool(sources),
        "right": titles[:1] != [] and titles[0] in sources,
        "right3": not sources.isdisjoint(titles[:3]),
    }


def _falsified(sentence: str, rng: random.Random) -> str | None:
    """The sentence with one number, the negation or one name changed: no document says this.

    None where it holds nothing of the kind.
    """
    ways = []
    if numbers := re.findall(r"\d+", sentence):
        ways.append(lambda: sentence.replace(rng.choice(numbers), str(rng.randint(1000, 9999)), 1))
    if re.search(r"\b(is|are|can|may|does)\b", sentence) and "not" not in sentence.split():
        ways.append(lambda: re.sub(r"\b(is|are|can|may|does)\b", r"\1 not", sentence, count=1))
    if inside := re.findall(r"(?<=[a-z,] )[A-Z][a-z]{3,}", sentence):
        ways.append(lambda: sentence.replace(rng.choice(inside), "Zanzibar", 1))
    return rng.choice(ways)() if ways else None


def _support_figures(asked: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """How the check of sentences decides where the truth is known by construction.

    True sentences are those of the passages with their words' order changed at a comma; false ones
    are falsified, or stand in the passages of another question.
    """
    from praxis.assistants.contract import Passage
    from praxis.assistants.sentences import split_sentences
    from praxis.assistants.support import check_support

    rng = random.Random(seed)
    false_shown, true_shown = [], []
    for one, other in zip(asked, asked[1:] + asked[:1], strict=True):
        passages = [Passage(**passage) for passage in one["passages"]]
        own = [item.text for each in passages for item in split_sentences(each.text)]
        own = [text for text in own if len(text.split()) >= 6]
        foreign = [
            item.text
            for each in other["passages"]
            for item in split_sentences(each["text"])
            if len(item.text.split()) >= 6 and item.text not in own
        ]
        for text in rng.sample(own, min(3, len(own))):
            true_shown.append(_is_shown(check_support(_turned(text), passages)))
            if falsified := _falsified(text, rng):
                false_shown.append(_is_shown(check_support(falsified, passages)))
        for text in rng.sample(foreign, min(2, len(foreign))):
            false_shown.append(_is_shown(check_support(text, passages)))
    return {
        "unsupported_shown": _share(np.array(false_shown)),
        "supported_shown": _share(np.array(true_shown)),
        "n_unsupported": len(false_shown),
    }


def _turned(sentence: str) -> str:
    """The part behind the first comma first; the sentence itself where it has none."""
    head, comma, tail = sentence.rstrip(".").partition(", ")
    return f"{tail}, {head}." if comma else sentence


def _is_shown(support: Any) -> bool:
    return bool(support.sentences) and all(
        sentence.citation is not None for sentence in support.sentences
    )


def _features(asked: list[dict[str, Any]]) -> np.ndarray:
    """Score and coverage of the best evidence, as the chain computes them; adds its confidence."""
    sys.path[:0] = [str(Path(ROOT) / "platform")]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "praxis.settings")
    import django

    django.setup()
    from praxis.assistants.contract import Passage
    from praxis.assistants.grounded import coverage, find_evidence
    from praxis.assistants.tests.fakes import make_turn

    rows = []
    for one in asked:
        # The titles are ids here, so a passage's headings are all that names its subject.
        passages = [Passage(**{**passage, "title": ""}) for passage in one["passages"]]
        turn = make_turn(one["question"], passages=passages)
        evidence = find_evidence(turn)
        one["confidence"] = evidence.confidence if evidence else 0.0
        score = evidence.passage.score if evidence else 0.0
        covered = (
            coverage(one["question"], f"{evidence.passage.heading} {evidence.quote}")
            if evidence
            else 0.0
        )
        rows.append((1.0, score, covered))
    return np.array(rows)


def _fit(features: np.ndarray, label: np.ndarray, ridge: float = 1.0) -> np.ndarray:
    """Logistic regression by Newton's method with a small ridge."""
    weights = np.zeros(features.shape[1])
    penalty = np.diag([0.0, ridge, ridge])
    for _step in range(50):
        chance = 1 / (1 + np.exp(-features @ weights))
        gradient = features.T @ (chance - label) + penalty @ weights
        curvature = (features * (chance * (1 - chance))[:, None]).T @ features + penalty
        weights = weights - np.linalg.solve(curvature + 1e-6 * np.eye(len(weights)), gradient)
    return weights


def _share(values: np.ndarray) -> float:
    return round(float(np.mean(values)), 4) if len(values) else 0.0


def _calibration_error(confidence: np.ndarray, label: np.ndarray, bins: int = 10) -> float:
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    return float(
        sum(
            np.mean(places == place)
            * abs(confidence[places == place].mean() - label[places == place].mean())
            for place in set(places.tolist())
        )
    )
