"""The pages for 403 and 404, whose frame asks the database.

Of an asynchronous view Django draws them in a thread that no request owns and that nobody tidies up:
each such thread would keep a connection of the pool for good.
"""

from django.http import HttpRequest, HttpResponse
from django.views import defaults

from praxis.database import release_connections


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    try:
        return defaults.permission_denied(request, exception)
    finally:
        release_connections()


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    try:
        return defaults.page_not_found(request, exception)
    finally:
        release_connections()
