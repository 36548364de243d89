"""The way of a request through the middleware."""

import asyncio

import pytest
from asgiref.sync import SyncToAsync
from django.test import AsyncClient


@pytest.mark.django_db(transaction=True)
def test_a_request_goes_to_its_thread_once_for_all_middleware(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changes: list[str] = []
    change = SyncToAsync.__call__

    async def counted(self: SyncToAsync, *args: object, **kwargs: object) -> object:
        changes.append(getattr(self.func, "__qualname__", repr(self.func)))
        return await change(self, *args, **kwargs)

    monkeypatch.setattr(SyncToAsync, "__call__", counted)
    response = asyncio.run(AsyncClient().get("/accounts/login/"))
    assert response.status_code == 200
    assert changes, "nothing was counted"
    assert not [
        each for each in changes if each.endswith((".process_request", ".process_response"))
    ]
