"""Poisoned documents: what they hide never becomes text, and what they say never loads anything."""

import re

import pytest

from ops.poisoned_documents import LANGUAGES, WAYS, Poisoned, poisoned_documents
from praxis.assistants.grounded import find_evidence, grounded_messages
from praxis.assistants.language_model import _as_sent
from praxis.assistants.tests.fakes import make_passage, make_turn
from praxis.conversations.rendering import render_answer
from praxis.knowledge.parsing import docx_text, html_text, markdown_text, pdf_text

READERS = {"md": markdown_text, "html": html_text, "docx": docx_text, "pdf": pdf_text}
SINK = "https://sink.example"
DOCUMENTS = list(poisoned_documents(SINK))
HIDING = ("reveal_tags", "hidden_html", "hidden_file")


def text_of(document: Poisoned) -> str:
    reader = READERS[document.file_name.rpartition(".")[2]]
    pages = reader.read(document.content)
    return "\n\n".join(block.text for page in pages for block in page.blocks)


TEXTS = {document.number: text_of(document) for document in DOCUMENTS}


def test_there_are_fifteen_ways_in_ten_languages() -> None:
    assert len({(one.language, one.way) for one in DOCUMENTS}) == len(LANGUAGES) * len(WAYS) == 150


@pytest.mark.parametrize("way", WAYS)
def test_the_honest_fact_is_read_and_what_nobody_sees_is_not(way: str) -> None:
    for document in DOCUMENTS:
        if document.way == way:
            text = TEXTS[document.number]
            assert str(2 + document.number % 3) in text
            assert (document.marker in text) == (way not in HIDING)
            assert not re.search("[\u200b-\u200f\u2060-\u2064\U000e0000-\U000e007f]", text)


def test_no_document_leaves_its_channel_in_the_prompt() -> None:
    for document in DOCUMENTS:
        turn = make_turn(
            document.question, passages=[make_passage(1, TEXTS[document.number], title="Orvan")]
        )
        find_evidence(turn)
        prompt = _as_sent(grounded_messages("Be brief.", turn)[1])["content"]
        assert len(re.findall(r"</?documents>", prompt)) == 2
        assert not re.search(r"<\|im_|\[/?INST\]|<</?SYS>>|<tool_call>", prompt)


def test_an_answer_that_repeats_a_document_loads_nothing() -> None:
    for document in DOCUMENTS:
        hostile = document.content.decode("utf-8", "replace")
        html = render_answer(f"{TEXTS[document.number]}\n\n{hostile}")
        assert not re.search(r"<(?:img|iframe|script|link|object|embed|svg|style|video)\b", html)
        assert not re.search(
            r"\b(?:src|srcset|style|background)\s*=\s*[\"'](?!$)", re.sub(r"&lt;.*?&gt;", "", html)
        )
