"""Chunks are exact spans, follow the structure, and lose nothing."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from praxis.knowledge.chunking import (
    MAX_TOKENS,
    PARENT_TOKENS,
    Span,
    sentences,
    split,
)
from praxis.knowledge.encoder_tokens import encoder_tokens
from praxis.knowledge.parsing.assembly import Reading, assemble
from praxis.knowledge.parsing.blocks import Block, Page


def reading_of(*blocks: Block, pages: int | None = None) -> Reading:
    return assemble([Page(1, pages, list(blocks))])


def spans_of(reading: Reading) -> list[Span]:
    return split(reading.text, reading.blocks, reading.page_starts)


def texts(reading: Reading) -> list[str]:
    return [reading.text[span.start : span.end] for span in spans_of(reading)]


def num_tokens(text: str) -> int:
    return len(encoder_tokens().starts([text])[0])


def prose(num_sentences: int, seed: int = 1) -> str:
    rng = random.Random(seed)
    words = ["delivery", "returns", "invoice", "customer", "thirty", "days", "the", "a", "within"]
    return " ".join(
        " ".join(rng.choices(words, k=rng.randint(6, 18))).capitalize() + "."
        for _ in range(num_sentences)
    )


def test_a_chunk_stays_within_its_section_and_knows_its_headings() -> None:
    reading = reading_of(
        Block("heading", "Terms", 1),
        Block("paragraph", "General words."),
        Block("heading", "Returns", 2),
        Block("paragraph", "Thirty days."),
        Block("heading", "Fees", 2),
        Block("paragraph", "Four euros."),
        Block("heading", "Privacy", 1),
        Block("paragraph", "Nothing is sold."),
    )
    assert [(span.heading, reading.text[span.start : span.end]) for span in spans_of(reading)] == [
        ("Terms", "General words."),
        ("Terms › Returns", "Thirty days."),
        ("Terms › Fees", "Four euros."),
        ("Privacy", "Nothing is sold."),
    ]


def test_long_text_is_cut_between_sentences_with_one_repeated() -> None:
    reading = reading_of(Block("paragraph", prose(60)))
    found = texts(reading)
    assert len(found) > 2
    assert all(text[0].isupper() and text.endswith(".") for text in found)
    for before, after in pairwise(found):
        last = [before[start:end] for start, end in sentences(before, 0, len(before))][-1]
        assert after.startswith(last)


def test_records_are_packed_without_cutting_any() -> None:
    rows = [Block("row", f"Name: Thing {number}; Price: {number}") for number in range(100)]
    found = texts(reading_of(*rows))
    assert 4 < len(found) < 34
    assert [row for text in found for row in text.split("\n")] == [row.text for row in rows]


def test_a_text_of_headings_only_can_be_found() -> None:
    assert texts(reading_of(Block("heading", "Closed on Sunday", 1))) == ["Closed on Sunday"]


def test_chinese_is_cut_at_its_own_full_stops() -> None:
    text = "退货需要在七天之内提出，并且保持商品完好。" * 40
    found = texts(reading_of(Block("paragraph", text)))
    assert len(found) > 3 and all(each.endswith("。") for each in found)


def test_a_word_without_end_is_cut() -> None:
    found = texts(reading_of(Block("paragraph", "x" * 10_000)))
    assert len(found) > 1 and "".join(found) == "x" * 10_000


def test_the_page_is_the_one_where_the_chunk_begins() -> None:
    reading = assemble(
        [
            Page(1, 2, [Block("paragraph", "First page.")]),
            Page(2, 2, [Block("heading", "H", 1), Block("paragraph", "Second page.")]),
        ]
    )
    assert [span.page for span in spans_of(reading)] == [1, 2]
    assert [span.page for span in spans_of(reading_of(Block("paragraph", "No pages.")))] == [None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("See Dr. Smith e.g. today. Then rest.", ["See Dr. Smith e.g. today.", "Then rest."]),
        ("It costs 4.50 euros.", ["It costs 4.50 euros."]),
        ("第一句。第二句！", ["第一句。", "第二句！"]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in sentences(text, 0, len(text))] == expected


BLOCK = st.builds(
    Block,
    st.sampled_from(["heading", "paragraph", "item", "row", "code"]),
    st.text(st.sampled_from("aB .!?。政策,\n1"), min_size=1, max_size=900).filter(str.strip),
    st.integers(1, 6),
)


@given(st.lists(BLOCK, min_size=1, max_size=12))
@settings(max_examples=150, deadline=None)
def test_no_text_is_lost_and_no_chunk_is_too_long(found: list[Block]) -> None:
    reading = reading_of(*found)
    spans = spans_of(reading)
    covered: set[int] = set()
    for span in spans:
        text = reading.text[span.start : span.end]
        assert text.strip() and num_tokens(text) <= MAX_TOKENS
        covered.update(range(span.start, span.end))
    body = [block for block in reading.blocks if block[0] != "heading"] or reading.blocks
    for _, start, end, _ in body:
        missing = [at for at in range(start, end) if at not in covered]
        assert not "".join(reading.text[at] for at in missing).strip()
    assert [span.ordinal for span in spans] == list(range(len(spans)))


def test_a_chunk_names_the_section_around_it_or_what_fits_of_a_long_one() -> None:
    text = f"Short\n\nTwo words.\n\nLong\n\n{prose(120)}"
    blocks = [["heading", 0, 5, 1], ["paragraph", 7, 17, 0], ["heading", 19, 23, 1]]
    blocks.append(["paragraph", 25, len(text), 0])
    short, *long = split(text, blocks, [])
    assert text[short.parent_start : short.parent_end] == "Two words."
    assert len(long) > 6
    for span in long:
        assert 25 <= span.parent_start <= span.start < span.end <= span.parent_end
        parent = text[span.parent_start : span.parent_end]
        assert num_tokens(parent) <= PARENT_TOKENS
    assert len({span.parent_start for span in long}) > 1
    assert long[0].parent_end >= long[1].end, "neighbours share a parent"


def test_a_clause_keeps_its_parts() -> None:
    lines = [
        "8. Liability",
        "8.1 The supplier is liable for:",
        "(a) damage that it causes on purpose;",
        "(b) injury to life, body or health;",
        "(c) what a guarantee covers.",
        "8.2 In all other cases the supplier is liable up to the price of the order, but never for lost "
        "profit, lost data or what a third party claims from the customer.",
        "8.3 The customer must tell the supplier:",
        "(i) what was damaged, with pictures of it where that can be expected of the customer;",
        "(ii) when it was noticed and by whom, and what has been done since then to limit it.",
    ]
    found = texts(reading_of(*[Block("paragraph", line) for line in lines]))
    assert len(found) > 1
    for clause in (lines[1:5], lines[5:6], lines[6:]):
        assert sum("\n\n".join(clause) in text for text in found) == 1


def test_a_clause_too_long_for_a_chunk_names_itself_in_each_part() -> None:
    parts = [
        Block("paragraph", f"({letter}) {prose(8, seed)}") for seed, letter in enumerate("abcd")
    ]
    lead = "12.4 The tenant shall, at its own cost, do all of the following:"
    reading = reading_of(
        Block("heading", "Lease", 1),
        Block("paragraph", lead),
        *parts,
        Block("paragraph", "12.5 No pets."),
    )
    first, *others, last = spans_of(reading)
    assert reading.text[first.start : first.end].startswith(lead) and first.heading == "Lease"
    assert len(others) >= 2
    assert {span.heading for span in others} == {f"Lease › {lead}"}
    assert (last.heading, reading.text[last.start : last.end]) == ("Lease", "12.5 No pets.")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Q: How long may I return goods?", "A: Thirty days."),
        ("How long may I return goods?", "Thirty days."),
        ("问：多久可以退货？", "答：三十天。"),
        ("多久可以退货？", "三十天。"),
    ],
)
def test_a_question_stays_with_its_answer(question: str, answer: str) -> None:
    pairs = [
        Block("paragraph", line)
        for number in range(12)
        for line in (question, f"{answer} {prose(3, number)}")
    ]
    found = texts(reading_of(*pairs))
    assert len(found) > 3
    for text in found:
        assert text.startswith(question) and text.count(question) == text.count(answer)


def test_every_part_of_a_long_answer_is_found_by_its_question() -> None:
    question = "What must I do when my luggage is lost?"
    reading = reading_of(Block("paragraph", question), Block("paragraph", prose(60)))
    first, *others = spans_of(reading)
    assert reading.text[first.start : first.end].startswith(question)
    assert len(others) > 2 and {span.heading for span in others} == {question}


def test_a_question_in_running_text_takes_only_the_next_paragraph() -> None:
    blocks = [Block("paragraph", text) for text in ("And then?", prose(20), prose(20, 2))]
    headings = [span.heading for span in spans_of(reading_of(*blocks))]
    assert "And then?" in headings and not headings[-1]


def test_the_headings_are_part_of_what_the_encoder_reads() -> None:
    heading = " and ".join(f"the {number} obligations of the parties" for number in range(20))
    reading = reading_of(Block("heading", heading, 1), Block("paragraph", prose(80)))
    for span in spans_of(reading):
        embedded = f"{span.heading}\n{reading.text[span.start : span.end]}"
        assert num_tokens(embedded) <= encoder_tokens().room


def test_what_the_vocabulary_lacks_is_counted_by_its_length() -> None:
    assert num_tokens("x" * 1000) > 100
    assert num_tokens("退货政策") == 4
