"""Included under `w/<slug:workspace>/jobs/`."""

from django.urls import path

from praxis.jobs import views

app_name = "jobs"
urlpatterns = [
    path("<uuid:job_id>/progress/", views.progress, name="progress"),
    path("<uuid:job_id>/cancel/", views.cancel, name="cancel"),
    path("<uuid:job_id>/pause/", views.pause, name="pause"),
    path("<uuid:job_id>/resume/", views.resume, name="resume"),
    path("<uuid:job_id>/retry/", views.retry, name="retry"),
]
