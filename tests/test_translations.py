"""Every catalogue holds what its sources say, all of it translated."""

import gettext
import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.pofile import read_po
from django.test import Client
from django.utils.translation.template import templatize
from pytest_django import Settings

from praxis.local.preparation import compile_translations

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("platform/praxis", "apps/customer_service", "apps/medical", "apps/legal")
IN_FOLDER = Path("zh_Hans", "LC_MESSAGES", "django.po")
KEYWORDS: dict[str, tuple[int | tuple[int, str], ...] | None] = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
}
# What has to be the same in both languages: values, tags, emphasis, line breaks.
FIXED = re.compile(r"%\(\w+\)[a-z]|%%|%[sd]|\{[\w.]*\}|</?\w[^>]*>|\*\*|\n")
SAME_IN_BOTH = {"AI", "Alpha", "Webhook"}

Key = tuple[str, ...]


def read_catalogue(source: str) -> Catalog:
    with (ROOT / source / "locale" / IN_FOLDER).open("rb") as file:
        return read_po(file, locale="zh_Hans")


def messages_of(catalogue: Catalog) -> Iterator[tuple[Key, Message]]:
    for message in catalogue:
        if message.id:
            yield as_key(message.id), message


def as_key(message: str | list[str] | tuple[str, ...] | None) -> Key:
    return (message,) if isinstance(message, str) else tuple(message or ("",))


def said_in_sources(source: str) -> set[Key]:
    found: set[Key] = set()
    for path in (ROOT / source).rglob("*"):
        if path.suffix not in (".py", ".html") or "tests" in path.parts:
            continue
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".html":
            # As Python, in which only the calls are left; its indentation means nothing.
            text = "\n".join(line.strip() for line in templatize(text).splitlines())
        python = io.BytesIO(text.encode())
        for _line, message, _comments, _context in extract("python", python, KEYWORDS):
            found.add(as_key(message))
    return found


@pytest.mark.parametrize("source", SOURCES)
def test_the_catalogue_holds_the_messages_of_the_sources(source: str) -> None:
    in_catalogue = {key for key, _message in messages_of(read_catalogue(source))}
    in_sources = said_in_sources(source)
    assert in_sources, f"no message was found under {source}"
    missing = sorted(in_sources - in_catalogue)
    assert not missing, f"run ops/messages.py and translate: {missing}"
    assert not in_catalogue - in_sources, "run ops/messages.py: some messages are said no more"


@pytest.mark.parametrize("source", SOURCES)
def test_every_message_is_translated(source: str) -> None:
    for key, message in messages_of(read_catalogue(source)):
        forms = as_key(message.string or "")
        assert len(forms) == 1, f"Chinese has one form, not {len(forms)}: {key}"
        assert forms[0].strip(), f"not translated: {key}"
        assert not message.fuzzy, f"the source has changed; check the translation of {key}"
        assert forms[0] not in key or forms[0] in SAME_IN_BOTH, f"left in English: {key}"


def test_a_message_is_translated_alike_in_all_catalogues() -> None:
    """Django merges them, so a second translation of the same words would never be seen."""
    known: dict[Key, dict[str, str]] = {}
    for source in SOURCES:
        for key, message in messages_of(read_catalogue(source)):
            in_context = (message.context or "", *key)
            known.setdefault(in_context, {})[source] = as_key(message.string or "")[0]
    twofold = {key: told for key, told in known.items() if len(set(told.values())) > 1}
    assert not twofold, f"say one of them differently in English too: {twofold}"


@pytest.mark.parametrize("source", SOURCES)
def test_a_translation_keeps_values_and_tags(source: str) -> None:
    for key, message in messages_of(read_catalogue(source)):
        translated = as_key(message.string or "")[0]
        assert sorted(FIXED.findall(translated)) == sorted(FIXED.findall(key[-1])), key


@pytest.fixture
def compiled(tmp_path: Path) -> Path:
    """A copy of the platform's catalogue, compiled as a start does it."""
    copy = tmp_path / IN_FOLDER
    copy.parent.mkdir(parents=True)
    shutil.copy(ROOT / "platform/praxis/locale" / IN_FOLDER, copy)
    assert compile_translations([tmp_path]) == 1
    return tmp_path


def test_a_compiled_catalogue_has_one_form_for_every_number(compiled: Path) -> None:
    with (compiled / IN_FOLDER).with_suffix(".mo").open("rb") as file:
        chinese = gettext.GNUTranslations(file)
    assert chinese.gettext("Confidence") == "置信度"
    for count in (1, 2):
        assert chinese.ngettext("%(count)s document", "%(count)s documents", count) == (
            "%(count)s 个文档"
        )


@pytest.mark.django_db
def test_the_cookie_chooses_the_language(
    client: Client, settings: Settings, compiled: Path
) -> None:
    settings.LOCALE_PATHS = [compiled]  # also drops the translations that are loaded
    english = client.get("/accounts/login/").content.decode()
    assert "Sign in to Praxis" in english
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = "zh-hans"
    chinese = client.get("/accounts/login/").content.decode()
    assert "登录 Praxis" in chinese
    assert 'lang="zh-hans"' in chinese
    assert "Sign in to Praxis" not in chinese
