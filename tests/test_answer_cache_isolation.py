"""No reader gets an answer that was made for one who may read other documents."""

import random

import pytest

from ops.benchmarks.cache import cross_hits
from praxis.assistants import registry
from tests.document_desk.assistant import ASSISTANT


@pytest.mark.django_db
def test_no_lookup_crosses_rights_content_or_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._assistants, ASSISTANT.slug, ASSISTANT)
    figures = cross_hits(random.Random(5), tries=80, rounds=2)
    assert figures["cross_hits"] == 0
    assert figures["rightful_hits"] > 5
