"""docs/reference/settings.md names every variable that the code reads, and no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

REFERENCE = settings.BASE_DIR / "docs" / "reference" / "settings.md"
READERS = {"read_text", "read_bool", "read_int", "read_list", "read_url"}
# Of other programs, or set by the code itself for what it starts.
NOT_SETTINGS = {
    "CELERY_SKIP_CHECKS",
    "DJANGO_SETTINGS_MODULE",
    "HF_HUB_OFFLINE",
    "PYTHONPATH",
}
# Read by a library for us.
READ_ELSEWHERE = {"TMPDIR"}


def sources() -> list[Path]:
    roots = [settings.BASE_DIR / "platform", settings.BASE_DIR / "apps"]
    return [path for root in roots for path in root.rglob("*.py") if "tests" not in path.parts]


def variables_read(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.args[0]
        if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
            continue
        if not re.fullmatch("[A-Z][A-Z_]*", name.value):  # `Path.read_text("utf-8")`
            continue
        called = ast.unparse(node.func)
        if called.split(".")[-1] in READERS or called in ("os.environ.get", "os.getenv"):
            yield name.value


def in_code() -> set[str]:
    found = {
        name for path in sources() for name in variables_read(path.read_text(encoding="utf-8"))
    }
    return (found - NOT_SETTINGS) | READ_ELSEWHERE


def in_reference() -> set[str]:
    return set(re.findall(r"^\| `([A-Z][A-Z_]+)` \|", REFERENCE.read_text(), re.MULTILINE))


def test_the_scan_finds_every_way_of_reading() -> None:
    source = 'read_int("A", default=1)\nos.environ.get("B")\nenvironment.read_url("C")\nprint("D")'
    assert set(variables_read(source)) == {"A", "B", "C"}


def test_every_variable_is_documented() -> None:
    assert in_code() - in_reference() == set()


def test_nothing_is_documented_that_is_not_read() -> None:
    assert in_reference() - in_code() == set()


@pytest.mark.parametrize("name", ["PRAXIS_PORT", "DATABASE_URL"])
def test_the_scan_sees_the_real_settings(name: str) -> None:
    assert name in in_code()
