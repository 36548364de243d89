"""The reference page names everything the server has."""

import contextlib
import re
from pathlib import Path

import pytest

from modeling.inference.metrics import Metrics
from modeling.inference.requests import ChatRequest
from modeling.inference.server import main

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "model-server.md"


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_it_names_every_flag(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(SystemExit):
        main(["--help"])
    flags = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)) - {"--help"}
    assert flags
    assert [flag for flag in flags if f"`{flag}`" not in page] == []


def test_it_names_every_field_of_a_chat_request(page: str) -> None:
    assert [
        name for name in ChatRequest.model_fields if name != "n" and f"`{name}" not in page
    ] == []


def test_it_names_every_metric(page: str) -> None:
    families = {family.name for family in Metrics().registry.collect()}
    assert [name for name in families if name not in page] == []
