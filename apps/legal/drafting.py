"""Assembling the agreement from the clause library, and its .docx."""

import io
import re
from dataclasses import dataclass
from typing import Any

from docx import Document
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.shared import Pt

from apps.legal.clauses import MUTUAL_NDA, PREAMBLE, TITLE, Clause
from apps.legal.interview import LAWS, QUESTIONS, Values
from apps.legal.terms import Finding, check_terms

PLACEHOLDER = re.compile(r"\{(ref:)?([a-z_]+)\}")
MARK = "Drafted with an AI system from a clause library. Not reviewed by a lawyer."


@dataclass(frozen=True, kw_only=True)
class Section:
    number: int
    clause: Clause
    paragraphs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    title: str
    preamble: tuple[str, ...]
    sections: tuple[Section, ...]
    party_a: str
    party_b: str

    @property
    def text(self) -> str:
        """The whole agreement as plain text; offsets of findings count in it."""
        parts = [self.title, *self.preamble]
        for section in self.sections:
            parts.append(f"{section.number}. {section.clause.title}")
            parts += [
                f"{section.number}.{position} {paragraph}"
                for position, paragraph in enumerate(section.paragraphs, start=1)
            ]
        return "\n\n".join(parts)


def years(value: int) -> str:
    return "one year" if value == 1 else f"{value} years"


def assemble(values: Values) -> Agreement:
    """The agreement for complete interview values. Raises `KeyError` naming a missing one."""
    law, courts, _words = LAWS[values["law"]]
    filled: dict[str, Any] = {
        **{question.key: values[question.key] for question in QUESTIONS},
        "term_years": years(values["term_years"]),
        "survival_years": years(values["survival_years"]),
        "law": law,
        "courts": courts[0].upper() + courts[1:],
    }
    numbers = {clause.id: number for number, clause in enumerate(MUTUAL_NDA, start=1)}

    def fill(text: str) -> str:
        def value_of(match: re.Match[str]) -> str:
            return str(numbers[match[2]] if match[1] else filled[match[2]])

        return PLACEHOLDER.sub(value_of, text)

    return Agreement(
        title=TITLE,
        preamble=tuple(fill(paragraph) for paragraph in PREAMBLE),
        sections=tuple(
            Section(
                number=numbers[clause.id],
                clause=clause,
                paragraphs=tuple(fill(paragraph) for paragraph in clause.paragraphs),
            )
            for clause in MUTUAL_NDA
        ),
        party_a=values["party_a"],
        party_b=values["party_b"],
    )


def review(agreement: Agreement, values: Values) -> list[Finding]:
    """What is wrong with the agreement's defined terms."""
    law, courts, _words = LAWS[values["law"]]
    names = [values[key] for key in ("party_a", "party_b", "party_a_address", "party_b_address")]
    names += [law, courts, courts[0].upper() + courts[1:], values["purpose"], agreement.title]
    names += [f"{section.number}. {section.clause.title}" for section in agreement.sections]
    return check_terms(agreement.text, names)


def to_docx(agreement: Agreement) -> bytes:
    """A Word file with headings, numbered paragraphs, signature blocks, and the AI mark."""
    document = Document()
    document.styles["Normal"].font.name = "Georgia"
    document.styles["Normal"].font.size = Pt(11)
    document.core_properties.title = agreement.title
    document.core_properties.author = "Praxis"
    document.core_properties.comments = MARK
    document.add_heading(agreement.title, level=0).alignment = WD_ALIGN_PARAGRAPH.CENTER
    for paragraph in agreement.preamble:
        document.add_paragraph(paragraph)
    for section in agreement.sections:
        document.add_heading(f"{section.number}. {section.clause.title}", level=1)
        for position, paragraph in enumerate(section.paragraphs, start=1):
            document.add_paragraph(f"{section.number}.{position}\t{paragraph}")
    document.add_heading("Signatures", level=1)
    table = document.add_table(rows=1, cols=2)
    for cell, party in zip(
        table.rows[0].cells, (agreement.party_a, agreement.party_b), strict=True
    ):
        cell.text = f"For {party}\n\n\n_______________________\nName:\nPosition:\nDate:"
    document.sections[0].footer.paragraphs[0].text = MARK
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()
