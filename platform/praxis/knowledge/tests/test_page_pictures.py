"""A citation of a PDF opens the page as it looks, with the cited passage marked."""

import io
from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse
from PIL import Image

from praxis.accounts.models import User
from praxis.knowledge.models import DocumentVersion
from praxis.knowledge.parsing.blocks import Refused
from praxis.knowledge.parsing.page_image import render
from praxis.knowledge.tests import files
from praxis.knowledge.tests.conftest import AddDocument

FACT = "The refund is paid within five days."
PAGES = (["Terms of the shop"], ["Returns", "You may return goods.", FACT, "Thank you."])


def yellow(picture: bytes) -> list[tuple[int, int]]:
    """Places of the marked pixels, as x and y."""
    blue = Image.open(io.BytesIO(picture)).convert("RGB").getchannel("B")
    red = Image.open(io.BytesIO(picture)).convert("RGB").getchannel("R")
    width, height = blue.size
    is_yellow = [b < 200 < r for b, r in zip(blue.tobytes(), red.tobytes(), strict=True)]
    return [(place % width, place // width) for place in range(width * height) if is_yellow[place]]


def test_only_the_passage_is_marked() -> None:
    marked = yellow(render(files.pdf(*PAGES), 2, FACT))
    assert marked
    top, bottom = min(y for _, y in marked), max(y for _, y in marked)
    assert bottom - top < 40, "more than one line is marked"
    assert yellow(render(files.pdf(*PAGES), 2, "")) == []
    assert yellow(render(files.pdf(*PAGES), 1, FACT)) == []


def test_a_passage_that_ends_on_another_page_is_marked_as_far_as_it_goes() -> None:
    passage = "Returns You may return goods. The refund is paid within five days. Thank you. Bye."
    assert yellow(render(files.pdf(*PAGES), 2, passage))


def test_a_broken_file_is_refused() -> None:
    with pytest.raises(Refused):
        render(b"%PDF-1.4 nothing", 1, "")


@pytest.fixture
def version(add_document: AddDocument) -> DocumentVersion:
    return add_document("terms.pdf", files.pdf(*PAGES))


def picture_address(version: DocumentVersion, slug: str, page: int = 2) -> str:
    start = version.text.index(FACT)
    address = reverse("knowledge:page", args=[slug, version.pk, page])
    return f"{address}?start={start}&end={start + len(FACT)}"


def test_the_document_page_shows_the_picture_of_the_cited_page(
    version: DocumentVersion, client_for: Callable[[User], Client], member: User
) -> None:
    client = client_for(member)
    address = picture_address(version, "north-clinic")
    start = version.text.index(FACT)
    page = client.get(
        version.document.get_absolute_url(), {"start": start, "end": start + len(FACT)}
    )
    assert address.replace("&", "&amp;") in page.text
    picture = client.get(address)
    assert picture.headers["Content-Type"] == "image/png"
    assert picture.headers["Cache-Control"].startswith("private")
    assert yellow(picture.content)
    version.file.delete()
    assert client.get(address).content == picture.content, "it was rendered again"


def test_nobody_else_sees_the_picture_and_other_pages_do_not_exist(
    version: DocumentVersion, client_for: Callable[[User], Client], member: User, stranger: User
) -> None:
    client_for(member).get(picture_address(version, "north-clinic"))  # fills the cache
    for slug in ("north-clinic", "south-office"):
        answer = client_for(stranger).get(picture_address(version, slug))
        assert answer.status_code == 404
    assert client_for(member).get(picture_address(version, "north-clinic", 3)).status_code == 404


def test_a_document_that_is_no_pdf_has_no_pictures(
    add_document: AddDocument, client_for: Callable[[User], Client], member: User
) -> None:
    version = add_document("terms.md", FACT)
    assert client_for(member).get(picture_address(version, "north-clinic", 1)).status_code == 404
