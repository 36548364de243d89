"""Middleware of the platform's own."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_only_middleware

GetResponse = Callable[[HttpRequest], HttpResponseBase]


@sync_only_middleware
def in_one_thread(get_response: GetResponse) -> GetResponse:
    """Innermost: the middleware around it runs in the request's thread, one after the other.

    Django runs middleware of both kinds asynchronously around an asynchronous view; each then hands
    its work to the thread and waits, which for the whole chain costs more than most views do.
    """
    return get_response
