"""What people see when something is not there, not theirs, or broken."""

from collections.abc import Callable

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from praxis.accounts.models import User
from praxis.urls import urlpatterns as product_urls

ClientFor = Callable[[User], Client]


def _broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a bug")


urlpatterns = [path("broken/", _broken), *product_urls]


def test_a_missing_page_and_a_role_that_is_too_low(client_for: ClientFor, member: User) -> None:
    client = client_for(member)
    missing = client.get("/w/nowhere/knowledge/")
    assert missing.status_code == 404
    assert "This is not here" in missing.content.decode()
    low = client.get("/w/north-clinic/tuning/")
    assert low.status_code == 403
    assert "This needs the role “Administrator”" in low.content.decode()
    client.cookies["django_language"] = "zh-hans"
    assert "您的角色不允许此操作" in client.get("/w/north-clinic/tuning/").content.decode()


@pytest.mark.urls("tests.test_error_pages")
def test_a_bug_is_a_page_without_a_trace(client_for: ClientFor, member: User) -> None:
    client = client_for(member)
    client.raise_request_exception = False
    answer = client.get("/broken/")
    assert answer.status_code == 500
    assert "The fault is in Praxis" in answer.content.decode()
    assert "RuntimeError" not in answer.content.decode()
