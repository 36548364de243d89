"""The inbox of a workspace, under /w/<workspace>/inbox/."""

from django.urls import path

from praxis.handoff import stream_views, views

app_name = "handoff"

CONVERSATION = "<uuid:conversation_id>/"

urlpatterns = [
    path("", views.index, name="index"),
    path("live", stream_views.live, name="live"),
    path("people/", views.people, name="people"),
    path("name/", views.name, name="name"),
    path("settings/", views.setup, name="setup"),
    path("canned-answers/", views.save_canned_answer, name="add_canned_answer"),
    path("canned-answers/<int:answer_id>/", views.save_canned_answer, name="save_canned_answer"),
    path(
        "canned-answers/<int:answer_id>/delete/",
        views.delete_canned_answer,
        name="delete_canned_answer",
    ),
    path(CONVERSATION, views.conversation, name="conversation"),
    path(f"{CONVERSATION}take/", views.take, name="take"),
    path(f"{CONVERSATION}assign/", views.assign, name="assign"),
    path(f"{CONVERSATION}put-back/", views.put_back, name="put_back"),
    path(f"{CONVERSATION}return/", views.give_back, name="give_back"),
    path(f"{CONVERSATION}close/", views.close, name="close"),
    path(f"{CONVERSATION}write/", views.write, name="write"),
    path(f"{CONVERSATION}typing/", views.typing, name="typing"),
    path(f"{CONVERSATION}suggestion/", views.suggestion, name="suggestion"),
]
