"""The start page and everything under /c/."""

from django.urls import path

from praxis.conversations import memory_views, stream_views, views

app_name = "conversations"

CONVERSATION = "c/<uuid:conversation_id>/"
MESSAGE = f"{CONVERSATION}messages/<uuid:message_id>/"

urlpatterns = [
    path("", views.home, name="home"),
    path("c/", views.conversation_list, name="list"),
    path("c/new/", views.new, name="new"),
    path(CONVERSATION, views.chat, name="chat"),
    path(f"{CONVERSATION}messages/", views.post, name="post"),
    path(f"{CONVERSATION}news/", views.news, name="news"),
    path(f"{CONVERSATION}state/", views.correct, name="correct"),
    path(f"{CONVERSATION}live", stream_views.live, name="live"),
    path(f"{CONVERSATION}rename/", views.rename, name="rename"),
    path(f"{CONVERSATION}delete/", views.delete, name="delete"),
    path(f"{CONVERSATION}memory/", memory_views.memory, name="memory"),
    path(f"{CONVERSATION}memory/forget/", memory_views.forget, name="forget"),
    path(f"{CONVERSATION}export.json", views.export_json, name="export_json"),
    path(f"{CONVERSATION}export.md", views.export_markdown, name="export_markdown"),
    path(MESSAGE, views.message, name="message"),
    path(f"{MESSAGE}stream", stream_views.stream, name="stream"),
    path(f"{MESSAGE}stop/", views.stop, name="stop"),
    path(f"{MESSAGE}regenerate/", views.regenerate, name="regenerate"),
    path(f"{MESSAGE}edit/", views.edit, name="edit"),
    path(f"{MESSAGE}show/", views.show, name="show"),
    path(f"{MESSAGE}feedback/", views.feedback, name="feedback"),
]
