"""Questions to labelled passages: an answer whose sentences cite, or "the documents do not say".

The answer's sentences stand in the passages word for word. Hard negatives: passages about the same
disease or of the same contract that answer another question.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from modeling.training.mix.items import Item, asked, contract_name, rows, sentences

NOT_SAID = "The documents do not say."
INSTRUCTIONS = (
    "You answer from the given documents only. If the documents don't say it, say so.",
    "You answer questions of customers from the given documents only. Be short and friendly. If "
    "the documents don't say it, say that you don't know.",
    "You help clinicians with the workspace's medical documents. Answer only from the given "
    "passages and cite them. If the passages don't say it, say so.",
    "You explain contracts from the given documents only, in plain words. If the documents don't "
    "say it, say that you don't know.",
)
UNANSWERABLE = 0.3
_KINDS = (
    # how MedQuAD asks, and how people do
    (r"^What is \(are\) (.+?) \?$", ("What is {}?", "Tell me about {}.", "what does {} mean",
                                    "Can you explain {}?")),
    (r"^What are the symptoms of (.+?) \?$", ("What are the symptoms of {}?",
                                             "How do I notice {}?", "signs of {}")),
    (r"^What causes (.+?) \?$", ("What causes {}?", "Why do people get {}?",
                                "Where does {} come from?")),
    (r"^What are the treatments for (.+?) \?$", ("How is {} treated?", "treatment of {}",
                                                "What can be done about {}?")),
    (r"^How to diagnose (.+?) \?$", ("How is {} diagnosed?", "Which tests show {}?")),
    (r"^How many people are affected by (.+?) \?$", ("How common is {}?",
                                                    "How many people have {}?")),
    (r"^Is (.+?) inherited \?$", ("Is {} inherited?", "Does {} run in families?")),
    (r"^What are the genetic changes related to (.+?) \?$", ("Which genes are behind {}?",
                                                            "What gene causes {}?")),
    (r"^What is the outlook for (.+?) \?$", ("What is the outlook for {}?",
                                            "What is the prognosis of {}?")),
    (r"^How to prevent (.+?) \?$", ("How can {} be prevented?", "How do I avoid {}?")),
    (r"^Who is at risk for (.+?)\??\s*\?$", ("Who is at risk for {}?", "Who gets {}?")),
)  # fmt: skip
_CLAUSES = {
    "Governing Law": ("Which law governs the agreement?", "What is the governing law?"),
    "Expiration Date": ("When does the agreement end?", "How long does the contract run?"),
    "Renewal Term": ("Does the agreement renew?", "How is the contract renewed?"),
    "Termination For Convenience": (
        "Can the agreement be terminated without cause?",
        "Can we cancel at any time?",
    ),
    "Anti-Assignment": ("Can the agreement be assigned?", "May we transfer the contract?"),
    "Exclusivity": ("Is the arrangement exclusive?", "Who may we also work with?"),
    "Non-Compete": ("Is there a non-compete?", "May a party compete?"),
    "Audit Rights": ("Who may audit the books?", "Is there a right of audit?"),
    "Cap On Liability": ("Is liability limited?", "How much can a party be liable for?"),
    "Insurance": ("Which insurance is required?", "Must a party be insured?"),
    "License Grant": ("Which licence is granted?", "What may the licensee do?"),
    "Warranty Duration": ("How long does the warranty last?", "Is there a warranty period?"),
    "Minimum Commitment": ("Is there a minimum purchase?", "What is the minimum commitment?"),
    "Revenue/Profit Sharing": ("How is revenue shared?", "What share of the revenue is paid?"),
    "Ip Ownership Assignment": ("Who owns the intellectual property?", "Who gets the inventions?"),
    "Post-Termination Services": ("What happens after termination?", "What is due at the end?"),
    "Notice Period To Terminate Renewal": (
        "How much notice is needed against renewal?",
        "When must renewal be refused?",
    ),
    "Change Of Control": ("What happens if a party is sold?", "Is there a change of control rule?"),
    "Liquidated Damages": ("Are there liquidated damages?", "Which penalty is agreed?"),
    "No-Solicit Of Employees": ("May employees be hired away?", "Is there a no-solicit rule?"),
}


def question_to(question: str, passages: Sequence[tuple[str, str]]) -> str:
    """The user's message: passages as (title, text), numbered, then the question."""
    listed = "\n".join(f"[{n}] {title}: {text}" for n, (title, text) in enumerate(passages, 1))
    return (
        f"<documents>\n{listed}\n</documents>\n\nQuestion: {question}\n"
        "Answer in at most three sentences, only from the documents."
    )


def medical(data: Path, rng: random.Random) -> Iterator[Item]:
    """MedQuAD: one item for each question that has sentences for an answer."""
    documents = [
        (
            row["focus"],
            [(pair["q"], found) for pair in row["qa"] if (found := sentences(pair["a"]))],
        )
        for row in rows(data / "medical/medquad.jsonl.xz")
    ]
    documents = [(focus, pairs) for focus, pairs in documents if pairs]
    for focus, pairs in documents:
        for number, (question, found) in enumerate(pairs):
            others = [(focus, _window(p[1], rng)) for i, p in enumerate(pairs) if i != number]
            strangers = []
            for _ in range(2):
                other, other_pairs = rng.choice(documents)
                if other != focus:
                    strangers.append((other, _window(rng.choice(other_pairs)[1], rng)))
            yield _item(
                "medical", focus, asked_by_people(question, rng), focus,
                found, others, strangers, rng,
            )  # fmt: skip


def contracts(data: Path, rng: random.Random) -> Iterator[Item]:
    """CUAD: questions to a contract that an annotated clause answers, or none does."""
    for row in rows(data / "legal/cuad_clauses_dev.jsonl.xz"):
        clauses = {
            kind: [" ".join(text.split()) for text in ast.literal_eval(row[kind])]
            for kind in _CLAUSES
        }
        title = " ".join(row["Document Name-Answer"].split()).title() or "Agreement"
        known = {kind: texts[0] for kind, texts in clauses.items() if texts}
        for kind, text in known.items():
            found = sentences(text) or ([text] if 40 <= len(text) <= 500 else [])
            if not found:
                continue
            others = [(title, other[:500]) for k, other in known.items() if k != kind]
            rng.shuffle(others)
            yield _item(
                "legal", contract_name(row["Filename"]), rng.choice(_CLAUSES[kind]), title,
                found, others[:3], [], rng,
            )  # fmt: skip


def _item(
    domain: str,
    document: str,
    question: str,
    title: str,
    found: Sequence[str],
    others: list[tuple[str, str]],
    strangers: list[tuple[str, str]],
    rng: random.Random,
) -> Item:
    rng.shuffle(others)
    negatives = [*others[: rng.randint(0, 2)], *strangers[: rng.randint(0, 2)]]
    if rng.random() < UNANSWERABLE and (others or strangers):
        passages = negatives or [*others, *strangers][:2]
        rng.shuffle(passages)
        answer = NOT_SAID
    else:
        start = 0 if rng.random() < 0.7 else rng.randint(0, max(0, len(found) - 2))
        window = list(found[start : start + rng.randint(2, 5)])
        gold = (title, " ".join(window))
        passages = [gold, *negatives]
        rng.shuffle(passages)
        number = passages.index(gold) + 1
        said = [text for text in window if not text.endswith("?")][: rng.choice((1, 2, 2))]
        said = said or window[:1]
        answer = " ".join(f"{sentence} [{number}]" for sentence in said)
    facts: dict[str, Any] = {"domain": domain, "task": "grounded", "document": document}
    return asked(rng.choice(INSTRUCTIONS), question_to(question, passages), answer, **facts)


def _window(found: Sequence[str], rng: random.Random) -> str:
    start = rng.randint(0, max(0, len(found) - 3))
    return " ".join(found[start : start + rng.randint(2, 4)])


def asked_by_people(question: str, rng: random.Random) -> str:
    for pattern, forms in _KINDS:
        if match := re.match(pattern, question):
            return rng.choice(forms).format(match[1].strip())
    return re.sub(r"\s+\?", "?", question)
