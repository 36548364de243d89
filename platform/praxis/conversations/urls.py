"""The start page and everything under /c/."""

from django.urls import path

from praxis.conversations import stream_views

app_name = "conversations"

MESSAGE = "c/<uuid:conversation_id>/messages/<uuid:message_id>/"

urlpatterns = [
    path(f"{MESSAGE}stream", stream_views.stream, name="stream"),
]
