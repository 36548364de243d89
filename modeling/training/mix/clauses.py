"""Drafting: a clause of a named kind, and the definition of a term."""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modeling.training.mix.items import Item, asked, contract_name, rows

INSTRUCTIONS = "You draft contracts. Write the clause that is asked for, nothing else."
_NO_CLAUSE = frozenset(("Filename", "Document Name", "Parties", "Agreement Date", "Effective Date"))
_DEFINITION = re.compile(
    r"[\"“]([A-Z][A-Za-z ]{2,40})[\"”]\s+((?:shall mean|means|shall have the meaning|refers to)"
    r"\s[^\n]{30,500}?[.;])(?=\s|$)"
)
LONGEST = 900
"""Characters of a clause."""


def clauses(data: Path, rng: random.Random) -> Iterator[Item]:
    """CUAD's annotated clauses by kind, and definitions in the contracts' own words."""
    for row in rows(data / "legal/cuad_clauses_dev.jsonl.xz"):
        title = " ".join(row["Document Name-Answer"].split()).title() or "agreement"
        for kind, value in row.items():
            if kind in _NO_CLAUSE or kind.endswith("Answer"):
                continue
            for text in ast.literal_eval(value)[:2]:
                clause = " ".join(text.split())
                if 60 <= len(clause) <= LONGEST:
                    name = kind.replace("Ip ", "IP ")
                    question = rng.choice(
                        (f"Draft a clause on {name} for a {title}.",
                         f"{name} clause, {title}", f"Write the {name} provision.")
                    )  # fmt: skip
                    yield _drafted(question, clause, row["Filename"])
    for row in rows(data / "legal/cuad_dev.jsonl.xz"):
        text = " ".join(row["text"].split())
        for match in list(_DEFINITION.finditer(text))[:12]:
            term, meaning = match[1].strip(), match[2]
            question = rng.choice((f'Define "{term}".', f"Definition of {term}"))
            yield _drafted(question, f'"{term}" {meaning}', row["name"])


def _drafted(question: str, answer: str, document: str) -> Item:
    facts: dict[str, Any] = {
        "domain": "legal",
        "task": "clauses",
        "document": contract_name(document),
    }
    return asked(INSTRUCTIONS, question, answer, **facts)
