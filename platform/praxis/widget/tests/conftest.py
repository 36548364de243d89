"""A widget of the sample assistant, and a visitor's browser."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from praxis.accounts.models import Workspace
from praxis.conversations.tests.conftest import Capture
from praxis.conversations.tests.conftest import quick as quick
from praxis.conversations.tests.conftest import sample_assistant as sample_assistant
from praxis.knowledge.tests.conftest import _files_of_this_test as _files_of_this_test
from praxis.knowledge.tests.conftest import add_document as add_document
from praxis.knowledge.tests.conftest import corpus as corpus
from praxis.widget.models import Widget

SITE = "https://shop.example.org"


@pytest.fixture
def widget(workspace: Workspace) -> Widget:
    return Widget.objects.create(
        workspace=workspace, name="Shop", assistant="sample", origins=[SITE]
    )


class Visitor:
    """Asks as the frame's script does: with the token in a header and with no cookie."""

    def __init__(self, widget: Widget, capture: Capture) -> None:
        self.client, self.capture = Client(enforce_csrf_checks=True), capture
        self.root, self.token = f"/widget/{widget.key}/", ""
        self.token = self.post("session").json()["token"]

    def post(self, path: str, **body: object) -> Any:
        with self.capture(execute=True):
            return self.client.post(
                f"{self.root}{path}",
                json.dumps(body),
                content_type="application/json",
                headers={"authorization": f"Visitor {self.token}"},
            )

    def get(self, path: str, **query: str) -> Any:
        return self.client.get(
            f"{self.root}{path}", query, headers={"authorization": f"Visitor {self.token}"}
        )

    def sees(self) -> str:
        return str(self.get("transcript").content.decode())


@pytest.fixture
def visit(widget: Widget, django_capture_on_commit_callbacks: Capture) -> Callable[[], Visitor]:
    """`visit()`: another visitor."""
    return lambda: Visitor(widget, django_capture_on_commit_callbacks)
