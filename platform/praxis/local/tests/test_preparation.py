"""What a start brings up to date, and leaves alone the second time."""

import gettext
import os
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from pytest_django import Settings

from praxis.accounts.models import User
from praxis.local.preparation import (
    collect_static_files,
    compile_translations,
    migrate,
    seed,
    translation_directories,
)

CATALOGUE = """
msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\\nPlural-Forms: nplurals=1; plural=0;\\n"

msgid "Cancel"
msgstr "取消"
"""


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    source = tmp_path / "locale" / "zh_Hans" / "LC_MESSAGES" / "django.po"
    source.parent.mkdir(parents=True)
    source.write_text(CATALOGUE, encoding="utf-8")
    return source


def test_a_catalogue_is_compiled_when_it_is_newer(catalogue: Path) -> None:
    directories = [catalogue.parents[2]]
    assert compile_translations(directories) == 1
    with catalogue.with_suffix(".mo").open("rb") as file:
        assert gettext.GNUTranslations(file).gettext("Cancel") == "取消"
    assert compile_translations(directories) == 0
    later = catalogue.stat().st_mtime + 10
    os.utime(catalogue, (later, later))
    assert compile_translations(directories) == 1


def test_only_the_projects_own_catalogues_are_compiled() -> None:
    assert all("site-packages" not in path.parts for path in translation_directories())


def test_static_files_are_collected_once(tmp_path: Path, settings: Settings) -> None:
    settings.STATIC_ROOT = tmp_path / "static"
    collect_static_files()
    stamp = tmp_path / "static" / ".collected"
    before = stamp.stat().st_mtime_ns
    assert any((tmp_path / "static").rglob("*.js"))
    collect_static_files()
    assert stamp.stat().st_mtime_ns == before
    stamp.write_text("another state of the files")
    collect_static_files()
    assert stamp.stat().st_mtime_ns != before


@pytest.mark.django_db
def test_nothing_is_migrated_when_nothing_is_new(capsys: pytest.CaptureFixture[str]) -> None:
    migrate()
    assert capsys.readouterr().out == ""


@pytest.mark.django_db
def test_the_first_seed_tells_the_password_and_later_ones_only_the_name() -> None:
    first = seed()
    assert len(first.password) >= 16
    assert User.objects.get(username=first.name).check_password(first.password)
    again = seed()
    assert (again.name, again.password) == (first.name, "")


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_the_static_root_is_below_the_data_directory() -> None:
    assert Path(settings.STATIC_ROOT).is_relative_to(settings.VAR_DIR)
