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
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from ops.installation import ROOT, running

LOWER_THRESHOLD = 0.35
SCOPES = ("knowledge:read", "knowledge:write")


def run(args: argparse.Namespace) -> dict[str, Any]:
    with lzma.open(args.data / "medical" / "medquad.jsonl.xz", "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["qa"]]
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
            text = f"# {row['focus']}\n\n" + "\n\n".join(
                f"## {pair['q']}\n\n{pair['a']}" for pair in row["qa"]
            )
            files = {"file": (f"{row['id']}.md", text.encode(), "text/markdown")}
            answer = api.post(
                f"/corpora/{corpus}/documents", files=files, data={"title": row["id"]}
            )
            answer.raise_for_status()
        _wait_until_read(api, corpus, len(known))
        asked = [_ask(api, row, corpus, answerable=True) for row in known]
        asked += [_ask(api, row, corpus, answerable=False) for row in unknown]
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


def _ask(
    api: httpx.Client, row: dict[str, Any], corpus: str, *, answerable: bool
) -> dict[str, Any]:
    question = row["qa"][0]["q"]
    body = {"query": question, "limit": 4, "corpus_ids": [corpus]}
    passages = api.post("/search", json=body).json()["passages"]
    titles = [passage["title"] for passage in passages]
    return {
        "question": question,
        "passages": passages,
        "answerable": answerable,
        "right": bool(answerable and titles[:1] == [row["id"]]),
        "right3": bool(answerable and row["id"] in titles[:3]),
    }


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
        # The titles are ids here, so a passage's heading is all that names its subject.
        passages = [Passage(**{**passage, "title": ""}) for passage in one["passages"]]
        turn = make_turn(one["question"], passages=passages)
        evidence = find_evidence(turn)
        one["confidence"] = evidence.confidence if evidence else 0.0
        score = evidence.passage.score if evidence else 0.0
        covered = coverage(one["question"], evidence.quote) if evidence else 0.0
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
