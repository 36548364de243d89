"""What a person does about a handoff in their own conversation, under /c/."""

from django.urls import path

from praxis.handoff import views

app_name = "handoff_person"

CONVERSATION = "c/<uuid:conversation_id>/"

urlpatterns = [
    path(f"{CONVERSATION}ask-for-a-person/", views.ask_for_person, name="ask"),
    path(f"{CONVERSATION}end/", views.end, name="end"),
    path(f"{CONVERSATION}after/", views.after, name="after"),
    path(f"{CONVERSATION}rating/", views.rate, name="rate"),
    path(f"{CONVERSATION}transcript/", views.transcript, name="transcript"),
    path(f"{CONVERSATION}typing/", views.person_typing, name="typing"),
]
