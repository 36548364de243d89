from django.urls import path

from praxis.answer_cache import views

app_name = "answer_cache"
urlpatterns = [
    path("", views.index, name="index"),
    path("purge/", views.purge, name="purge"),
    path("<uuid:entry_id>/delete/", views.delete, name="delete"),
]
