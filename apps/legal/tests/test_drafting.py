import io

import pytest
from docx import Document

from apps.legal.drafting import MARK, PLACEHOLDER, assemble, review, to_docx
from apps.legal.interview import LAWS
from apps.legal.terms import check_terms, definitions_in

VALUES = {
    "party_a": "Acme Robotics Ltd",
    "party_a_address": "1 Mill Lane, Leeds, United Kingdom",
    "party_b": "Blue Harbour GmbH",
    "party_b_address": "Hafenstraße 2, Hamburg, Germany",
    "purpose": "evaluating a joint warehouse robot",
    "effective_date": "2026-12-01",
    "term_years": 2,
    "survival_years": 5,
    "law": "england",
}


@pytest.mark.parametrize("law", sorted(LAWS))
def test_a_complete_interview_gives_an_agreement_without_findings(law: str) -> None:
    values = {**VALUES, "law": law}
    agreement = assemble(values)
    assert not PLACEHOLDER.search(agreement.text)
    assert review(agreement, values) == []
    for value in ("Acme Robotics Ltd", "Blue Harbour GmbH", "5 years", LAWS[law][0]):
        assert value in agreement.text


def test_references_point_to_the_clause_they_mean() -> None:
    agreement = assemble(VALUES)
    duty = next(section for section in agreement.sections if section.clause.id == "duty")
    term = next(section for section in agreement.sections if section.clause.id == "term")
    assert f"duties under clause {duty.number} last" in term.paragraphs[1]


def test_a_missing_answer_is_named() -> None:
    with pytest.raises(KeyError, match="purpose"):
        assemble({key: value for key, value in VALUES.items() if key != "purpose"})


def test_the_word_file_holds_the_whole_text_and_says_what_made_it() -> None:
    agreement = assemble(VALUES)
    document = Document(io.BytesIO(to_docx(agreement)))
    text = "\n".join(paragraph.text for paragraph in document.paragraphs)
    for section in agreement.sections:
        assert all(paragraph in text for paragraph in section.paragraphs)
    assert document.sections[0].footer.paragraphs[0].text == MARK
    assert document.core_properties.comments == MARK
    assert "Blue Harbour GmbH" in document.tables[0].rows[0].cells[1].text


class TestDefinedTerms:
    def kinds(self, text: str, *names: str) -> list[tuple[str, str]]:
        return [(finding.kind, finding.term) for finding in check_terms(text, names)]

    def test_both_forms_of_definition_are_read(self) -> None:
        text = "Acme (the “Seller”) sells. “Goods” means chairs. (each a “Party” and the “Parties”)"
        assert [item.term for item in definitions_in(text)] == [
            "Seller",
            "Goods",
            "Party",
            "Parties",
        ]

    def test_a_used_term_without_definition_is_found_where_it_stands(self) -> None:
        text = "“Goods” means chairs. The Goods go to the Delivery Site."
        (finding,) = check_terms(text)
        assert (finding.kind, finding.term) == ("undefined", "Delivery Site")
        assert text[finding.start : finding.end] == "Delivery Site"

    def test_a_defined_term_that_is_never_used_is_found(self) -> None:
        assert self.kinds("“Goods” means chairs. “Price” means money. Send the Goods.") == [
            ("unused", "Price")
        ]

    def test_a_second_definition_is_found(self) -> None:
        text = "“Goods” means chairs. The Goods are new. “Goods” means tables."
        assert self.kinds(text) == [("defined_twice", "Goods")]

    def test_plural_possessive_and_names_are_no_findings(self) -> None:
        text = (
            "Acme (the “Company”) agrees. The Company's staff and other Companies meet in "
            "December. The Company trusts Blue Harbour."
        )
        assert self.kinds(text, "Blue Harbour", "Acme") == []

    def test_removing_a_definition_from_the_library_would_be_noticed(self) -> None:
        agreement = assemble(VALUES)
        damaged = agreement.text.replace("“Representatives” means", "Representatives are")
        assert ("undefined", "Representatives") in self.kinds(damaged, *map(str, VALUES.values()))
