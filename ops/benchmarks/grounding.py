"""Whether questions are answered from the right document, and not answered where there is none.

Documents of MedQuAD are put into a running installation, and an assistant that answers only from
documents is asked over REST. Half of the questions are worded as the set has them, half as people
would ask. Answerable are questions about documents that were put in; unanswerable are those about
documents of the same sites that were left out.

    make bench NAME=grounding                        # reports
    make bench NAME=grounding ARGS="--split fit"     # fits what praxis.knowledge.search holds

`--split dev` reports on the twelfth of the diseases that trained no shipped weights; `--split fit`
uses the others, and prints the coefficients of `relevance` that a fit on them gives. Any other name
takes all rows, for files of which nothing was trained or fitted.
"""

import argparse
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

from modeling.training.mix.grounded import asked_by_people
from modeling.training.mix.items import is_held_out, rows
from ops.installation import ask, running, wait_until_read

DOCUMENTS, ANSWERABLE, UNANSWERABLE = 332, 200, 100
IN_MODELS_WORDS = 40
"""Of the answerable questions, those that the model answers as well."""
FOLDS = 5
SCOPES = ("knowledge:read", "knowledge:write", "chat", "conversations:read", "conversations:write")
LONGEST_DOCUMENT = 6_000
"""Characters: a few pages of the set are books, and would be most of the corpus."""


@dataclass(kw_only=True)
class Question:
    text: str
    focus: str
    gold: dict[str, str]
    """The documents that answer it, by id, with what they answer; empty: unanswerable."""


def run(args: argparse.Namespace) -> dict[str, Any]:
    chance = random.Random(args.seed)
    known, unknown = _divided(args, chance)
    with running(environment={"PRAXIS_DOMAIN_APPS": "tests.document_desk"}) as installation:
        api = installation.rest(*SCOPES)
        corpus = api.post("/corpora", json={"name": "MedQuAD"}).json()["id"]
        ids = [_upload(api, corpus, number, row) for number, row in enumerate(known)]
        wait_until_read(api, corpus, len(set(ids)))
        limit = args.limit or ANSWERABLE + UNANSWERABLE
        questions = [
            _question(row, chance, known, ids) for row in known[: round(limit * 2 / 3)]
        ] + [_question(row, chance, [], []) for row in unknown[: limit - round(limit * 2 / 3)]]
        found = [_search(api, corpus, question) for question in questions]
        figures = {
            "n": len(questions),
            "documents": len(known),
            **_source_figures(questions, found),
        }
        if args.split == "fit":
            return figures | _fitted(questions, found)
        answers = [ask(api, "desk", question.text) for question in questions]
        installation.set_assistant("desk", documents="model")
        asked_again = [question for question in questions if question.gold][:IN_MODELS_WORDS]
        worded = [ask(api, "desk", question.text) for question in asked_again]
    in_models_words = _answer_figures(asked_again, worded)
    return {
        **figures,
        **_answer_figures(questions, answers),
        **_support_figures(found, args.seed),
        "in_the_models_words": {
            name: in_models_words[name]
            for name in (
                "answer_rate",
                "says_the_answer",
                "sentences_with_source",
                "sentences_marked",
                "ms_p50",
            )
        },
    }


def _divided(
    args: argparse.Namespace, chance: random.Random
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows that are put in, and rows about something else that are only asked about."""
    usable = [
        row
        for row in rows(args.data / "medical" / "medquad.jsonl.xz")
        if row["qa"] and row["focus"] and _part(args.split, row["focus"])
    ]
    chance.shuffle(usable)
    left_out = {row["focus"].lower() for row in usable[: UNANSWERABLE + UNANSWERABLE // 4]}
    unknown: dict[str, dict[str, Any]] = {}
    for row in usable:
        if row["focus"].lower() in left_out:
            unknown.setdefault(row["focus"].lower(), row)
    known = [row for row in usable if row["focus"].lower() not in left_out]
    return known[:DOCUMENTS], list(unknown.values())


def _part(split: str, focus: str) -> bool:
    if split == "dev":
        return is_held_out(focus)
    return not is_held_out(focus) if split == "fit" else True


def _upload(api: httpx.Client, corpus: str, number: int, row: dict[str, Any]) -> str:
    """Without the questions: as headings they would answer themselves."""
    text = "\n\n".join(pair["a"] for pair in row["qa"])[:LONGEST_DOCUMENT]
    content = f"# {row['focus']}\n\n{text}"
    answer = api.post(
        f"/corpora/{corpus}/documents",
        files={"file": (f"{number}.md", content.encode(), "text/markdown")},
        data={"title": f"{row['focus']} ({number})"},
    )
    if answer.status_code == httpx.codes.CONFLICT:  # the set holds some pages twice
        return str(answer.json()["error"]["document_id"])
    return str(answer.raise_for_status().json()["id"])


def _question(
    row: dict[str, Any],
    chance: random.Random,
    known: Sequence[dict[str, Any]],
    ids: Sequence[str],
) -> Question:
    pair = chance.choice(_kept(row))
    text = asked_by_people(pair["q"], chance) if chance.random() < 0.5 else pair["q"]
    gold: dict[str, str] = {}
    for other, document in zip(known, ids, strict=True):
        if other["focus"].lower() == row["focus"].lower():
            for also in _kept(other):
                if also["type"] == pair["type"]:
                    gold[document] = gold.get(document, "") + "\n" + also["a"]
    return Question(text=text, focus=row["focus"], gold=gold)


def _kept(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The pairs whose answer, or at least its beginning, is in the uploaded document."""
    length = 0
    kept: list[dict[str, Any]] = []
    for pair in row["qa"]:
        if not kept or length < LONGEST_DOCUMENT - 600:
            kept.append(pair)
        length += len(pair["a"]) + 2
    return kept


def _search(api: httpx.Client, corpus: str, question: Question) -> dict[str, Any]:
    body = {"query": question.text, "limit": 4, "corpus_ids": [corpus], "explain": True}
    found: dict[str, Any] = api.post("/search", json=body).raise_for_status().json()
    return found


def _source_figures(
    questions: Sequence[Question], found: Sequence[dict[str, Any]]
) -> dict[str, float]:
    first, three = [], []
    for question, one in zip(questions, found, strict=True):
        if question.gold:
            sources = [passage["document_id"] for passage in one["passages"]]
            first.append(sources[:1] != [] and sources[0] in question.gold)
            three.append(not question.gold.keys().isdisjoint(sources[:3]))
    return {"source_at_1": _share(first), "source_at_3": _share(three)}


def _answer_figures(
    questions: Sequence[Question], answers: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """What was told, from where, and how well the confidence agrees with that."""
    told, right, quoted = [], [], []
    confidence = []
    marked = shown = shown_wrongly = 0
    for question, answer in zip(questions, answers, strict=True):
        is_told = answer["receipt"]["chain"] != "abstain" and not _missing(answer)
        told.append(is_told)
        sources = [one["document_id"] for one in answer["citations"]]
        right.append(bool(sources) and sources[0] in question.gold)
        confidence.append(max(one["confidence"] for one in answer["receipt"]["candidates"]))
        if is_told and question.gold:
            carried = [
                (one["document_id"], sentence)
                for one in answer["citations"]
                for sentence in one["sentences"]
            ]
            total = sum(len(e["sentences"]) for e in answer["events"] if e["kind"] == "support")
            marked += total - len(carried)
            shown += len(carried)
            shown_wrongly += sum(
                not _stands(sentence["quote"], one)
                for one in answer["citations"]
                for sentence in one["sentences"]
            )
            said = [quote["quote"] for _, quote in carried] or _quotes(answer["text"])
            quoted.append(any(_in_gold(text, question) for text in said))
    answerable = np.array([bool(question.gold) for question in questions])
    told_at = np.array(told)
    return {
        "answer_rate": _share(told_at[answerable]),
        "abstain_recall": _share(~told_at[~answerable]),
        "calibration_error": round(
            _calibration_error(np.array(confidence), np.array(right, dtype=float)), 4
        ),
        "says_the_answer": _share(quoted),
        "sentences_with_source": shown,
        "sentences_marked": marked,
        "quotes_not_verbatim": shown_wrongly,
        "ms_p50": float(np.median([answer["receipt"]["total_ms"] for answer in answers])),
    }


def _missing(answer: dict[str, Any]) -> bool:
    return any(event["kind"] == "not_in_documents" for event in answer["events"])


def _stands(quote: str, passage: dict[str, Any]) -> bool:
    return quote in passage["text"]


def _quotes(text: str) -> list[str]:
    return [line.removeprefix("> ") for line in text.splitlines() if line.startswith("> ")]


def _in_gold(text: str, question: Question) -> bool:
    """Whether at least half of the text's sentences stand in what answers the question."""
    from praxis.assistants.sentences import split_sentences

    gold = " ".join(" ".join(question.gold.values()).split())
    sentences = [" ".join(one.text.split()) for one in split_sentences(text)]
    return sum(one[:100] in gold for one in sentences) * 2 >= max(len(sentences), 1)


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


def _support_figures(found: Sequence[dict[str, Any]], seed: int) -> dict[str, Any]:
    """How the check of sentences decides where the truth is known by construction.

    True sentences are those of the passages with their words' order changed at a comma; false ones
    are falsified, or stand in the passages of another question.
    """
    from praxis.assistants.contract import Passage
    from praxis.assistants.sentences import split_sentences
    from praxis.assistants.support import check_support

    rng = random.Random(seed)
    false_shown, true_shown = [], []
    for one, other in zip(found, [*found[1:], *found[:1]], strict=True):
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
        "unsupported_shown": _share(false_shown),
        "supported_shown": _share(true_shown),
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


# The fit ------------------------------------------------------------------------------------------

FEATURES = ("cosine", "word_share", "unknown_share", "lead")


def _fitted(questions: Sequence[Question], found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Coefficients, and what they reach on folds that they were not fitted on."""
    best = [one["explanation"]["candidates"][0] for one in found]
    features = np.array([[1.0, *(one[name] for name in FEATURES)] for one in best])
    label = np.array(
        [
            one["document_id"] in question.gold
            for question, one in zip(questions, best, strict=True)
        ],
        dtype=float,
    )
    fold = np.arange(len(label)) % FOLDS
    chance = np.zeros(len(label))
    for number in range(FOLDS):
        weights = _fit(features[fold != number], label[fold != number])
        chance[fold == number] = 1 / (1 + np.exp(-features[fold == number] @ weights))
    answerable = np.array([bool(question.gold) for question in questions])
    return {
        "fit": dict(
            zip(
                ("intercept", *FEATURES),
                np.round(_fit(features, label), 2).tolist(),
                strict=True,
            )
        ),
        "fold_calibration_error": round(_calibration_error(chance, label), 4),
        "fold_area": round(_area(chance, label), 4),
        "fold_answered_and_abstained": {
            str(threshold): [
                _share(chance[answerable] >= threshold),
                _share(chance[~answerable] < threshold),
            ]
            for threshold in (0.3, 0.4, 0.5, 0.6, 0.7)
        },
    }


Numbers = npt.NDArray[np.float64]


def _fit(features: Numbers, label: Numbers, ridge: float = 1.0) -> Numbers:
    """Logistic regression by Newton's method with a small ridge."""
    weights = np.zeros(features.shape[1])
    penalty = np.diag([0.0, *[ridge] * (features.shape[1] - 1)])
    for _step in range(50):
        chance = 1 / (1 + np.exp(-features @ weights))
        gradient = features.T @ (chance - label) + penalty @ weights
        curvature = (features * (chance * (1 - chance))[:, None]).T @ features + penalty
        weights = weights - np.linalg.solve(curvature + 1e-6 * np.eye(len(weights)), gradient)
    return weights


def _area(score: Numbers, label: Numbers) -> float:
    """Under the receiver's operating curve: how often a right one scores above a wrong one."""
    right, wrong = score[label == 1], score[label == 0]
    return float(np.mean(right[:, None] > wrong[None, :]))


def _share(values: Any) -> float:
    return round(float(np.mean(values)), 4) if len(values) else 0.0


def _calibration_error(confidence: Numbers, label: Numbers, bins: int = 10) -> float:
    """Expected calibration error over equal bins."""
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    return float(
        sum(
            np.mean(places == place)
            * abs(confidence[places == place].mean() - label[places == place].mean())
            for place in set(places.tolist())
        )
    )
