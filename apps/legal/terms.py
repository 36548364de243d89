"""Whether every defined term is defined once and used, and every used term is defined.

A term is defined in quotation marks with “means”, or in brackets as (the “Term”) or (each a
“Term”). A use is the term's own capitalised words, also in the plural or the possessive.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_QUOTED = r"[“\"]([A-Z][\w'’ -]{1,60})[”\"]"
_MEANS = re.compile(rf"{_QUOTED}\s+(?:means|shall mean|has the meaning|includes)\b")
_BRACKET = re.compile(r"\(([^()]{0,120}?[“\"][A-Z][^()]{0,160}?)\)")
_IN_BRACKET = re.compile(_QUOTED)
_WORD = r"[A-Z][a-z]+(?:-[A-Z]?[a-z]+)*"
_PHRASE = re.compile(rf"\b{_WORD}(?:\s+{_WORD})*\b")
# Capitalised in ordinary English, or by the form of a contract.
_ORDINARY = frozenset(
    "January February March April May June July August September October November December "
    "Monday Tuesday Wednesday Thursday Friday Saturday Sunday English I Clause Section Schedule "
    "Exhibit Annex Mutual Non-Disclosure".split()
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing to look at. `kind`: undefined, unused or defined_twice."""

    kind: str
    term: str
    start: int
    end: int
    """Where it stands in the text, in characters."""

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "term": self.term, "start": self.start, "end": self.end}


@dataclass(frozen=True, kw_only=True)
class Definition:
    term: str
    start: int
    end: int


def definitions_in(text: str) -> list[Definition]:
    found = [
        Definition(term=match[1], start=match.start(1), end=match.end(1))
        for match in _MEANS.finditer(text)
    ]
    for bracket in _BRACKET.finditer(text):
        for match in _IN_BRACKET.finditer(bracket[1]):
            start = bracket.start(1) + match.start(1)
            found.append(Definition(term=match[1], start=start, end=start + len(match[1])))
    return sorted(found, key=lambda item: item.start)


def _forms(term: str) -> str:
    """A pattern for the term, its plural or singular, and their possessives."""
    words = [re.escape(word) for word in term.split()]
    last = words[-1]
    if last.endswith("ies"):
        last = f"(?:{last}|{last[:-3]}y)"
    elif last.endswith("y"):
        last = f"(?:{last}|{last[:-1]}ies)"
    elif last.endswith("s"):
        last = f"(?:{last}|{last[:-1]})"
    else:
        last = f"{last}s?"
    return r"\s+".join([*words[:-1], last]) + r"(?:['’]s?)?"


def check_terms(text: str, names: Sequence[str] = ()) -> list[Finding]:
    """What is wrong with the defined terms of an agreement, in the order of the text.

    `names` are proper names (parties, places) that are capitalised without being terms.
    """
    definitions = definitions_in(text)
    findings: list[Finding] = []
    seen: dict[str, Definition] = {}
    for definition in definitions:
        if definition.term in seen:
            findings.append(_finding("defined_twice", definition))
        else:
            seen[definition.term] = definition
    spans = {(definition.start, definition.end) for definition in definitions}
    for definition in seen.values():
        uses = [
            match
            for match in re.finditer(rf"\b{_forms(definition.term)}(?!\w)", text)
            if not any(start <= match.start() < end for start, end in spans)
        ]
        if not uses:
            findings.append(_finding("unused", definition))
    findings += _undefined(text, seen, names)
    return sorted(findings, key=lambda item: (item.start, item.kind))


def _finding(kind: str, definition: Definition) -> Finding:
    return Finding(kind=kind, term=definition.term, start=definition.start, end=definition.end)


def _undefined(text: str, known: dict[str, Definition], names: Sequence[str]) -> list[Finding]:
    """Capitalised words inside a sentence that no definition, name or ordinary word explains."""
    hidden = text
    # The longest first, so that a name inside a longer one isn't cut out of it.
    for name in sorted(names, key=len, reverse=True):
        hidden = re.sub(re.escape(name), lambda match: "·" * len(match[0]), hidden)
    for term in sorted(known, key=len, reverse=True):
        hidden = re.sub(rf"\b{_forms(term)}(?!\w)", lambda match: "·" * len(match[0]), hidden)
    findings = []
    for match in _PHRASE.finditer(hidden):
        words = match[0].split()
        if _begins(hidden, match.start()):
            words = words[1:]
        words = [word for word in words if word not in _ORDINARY]
        if words:
            term = " ".join(words)
            at = hidden.find(words[0], match.start())
            findings.append(Finding(kind="undefined", term=term, start=at, end=at + len(term)))
    unique: dict[str, Finding] = {}
    for finding in findings:
        unique.setdefault(finding.term, finding)
    return list(unique.values())


def _begins(text: str, start: int) -> bool:
    """Whether a sentence, a line or a list item begins here."""
    before = text[:start].rstrip(" ")
    return (
        not before
        or before[-1] in '.;:!?\n“"'
        or bool(re.search(r"\(\w\)$|(?:^|\n)[\d.]+$", before))
    )
