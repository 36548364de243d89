from django.urls import path

from praxis.assistants import views

app_name = "assistants"
urlpatterns = [
    path("", views.index, name="index"),
    path("<slug:assistant>/", views.edit, name="edit"),
]
