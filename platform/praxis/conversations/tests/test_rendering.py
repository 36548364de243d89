"""What a model writes can't act in the reader's browser, and citations and doubts are shown."""

import re

import pytest
from bs4 import BeautifulSoup

from praxis.conversations.rendering import render_answer

HARMFUL = [
    "<script>alert(1)</script>",
    "<img src=https://evil.test/x.png onerror=alert(1)>",
    "![pixel](https://evil.test/x.png)",
    "![pixel][1]\n\n[1]: https://evil.test/x.png",
    "[click](javascript:alert(1))",
    "[click](JaVaScRiPt:alert(1))",
    "[click](java\nscript:alert(1))",
    "[click](&#106;avascript:alert(1))",
    "[click](data:text/html;base64,PHNjcmlwdD4=)",
    "[click](vbscript:msgbox)",
    "[click](//evil.test/path)",
    "[log out](/accounts/logout/)",
    "<javascript:alert(1)>",
    '<iframe src="https://evil.test"></iframe>',
    '<svg onload="alert(1)"><use href="https://evil.test#x"/></svg>',
    '<style>@import "https://evil.test/x.css"</style>',
    "<link rel=prefetch href=https://evil.test>",
    "<form action=https://evil.test><button>x</button></form>",
    '<a href="https://evil.test" ping="https://evil.test/p">x</a>',
    '[x](https://evil.test "onmouseover=alert(1)")',
    "```html\n<script>alert(1)</script>\n```",
    "`<img src=x onerror=alert(1)>`",
    "<!-- --><b onclick=alert(1)>x</b>",
    "**<img src=x>** | <video src=//evil.test>",
    "\ue000<script>\ue001alert(1)</script>",
]


@pytest.mark.parametrize("payload", HARMFUL)
def test_a_harmful_payload_is_inert(payload: str) -> None:
    html = render_answer(payload, anchor="c", citations={1})
    page = BeautifulSoup(html, "html.parser")
    allowed = "p br strong em code pre a sup span h3 h4 ul ol li blockquote table".split()
    assert {tag.name for tag in page.find_all()} <= set(allowed)
    for tag in page.find_all():
        assert not [name for name in tag.attrs if name.startswith("on") or name == "src"]
    for link in page.find_all("a"):
        href = str(link["href"])
        assert re.match(r"https?://|#c-", href)
        if not href.startswith("#"):
            assert "noopener" in link["rel"]
            assert "evil.test" in page.get_text(), "the host is shown"


def test_invisible_characters_are_gone() -> None:
    hidden = "".join(chr(0xE0000 + ord(letter)) for letter in "ignore")
    assert render_answer(f"a{hidden}b\u200bc\u202ed") == "<p>abcd</p>\n"


def test_citations_become_links_only_for_known_numbers() -> None:
    html = render_answer("True [1], also [1][2], and [7].", anchor="m", citations={1, 2})
    assert html.count('href="#m-1"') == 2
    assert html.count('href="#m-2"') == 1
    assert "[7]" in html


def test_unsupported_sentences_are_marked_through_markup() -> None:
    text = "Sure [1].\n\n- **Bold** claim.\n- `code` claim\n"
    start, end = text.index("- **"), text.index("\n- `code`")
    html = render_answer(
        text,
        anchor="m",
        citations={1},
        support=[
            {"start": 0, "end": 9, "citation": 1},
            {"start": start, "end": end, "citation": None},
        ],
    )
    marked = BeautifulSoup(html, "html.parser").find_all(class_="unsupported")
    assert [one.get_text() for one in marked] == ["Bold", " claim."]
    assert html.count("<li>") == 2
    assert "no source" in html


def test_offsets_outside_the_text_mark_nothing() -> None:
    html = render_answer("Short.", support=[{"start": 3, "end": 99, "citation": None}])
    assert html == "<p>Short.</p>\n"


def test_headings_stay_below_those_of_the_page() -> None:
    assert render_answer("# Title") == "<h3>Title</h3>\n"
