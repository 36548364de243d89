"""Included under `w/<slug:workspace>/knowledge/workbench/`."""

from django.urls import path

from praxis.workbench import views

app_name = "workbench"
urlpatterns = [
    path("", views.workbench, name="index"),
    path("settings/", views.save, name="save"),
    path("settings/forget/", views.forget, name="forget"),
    path("golden/", views.golden_set, name="golden"),
    path("golden/expect/", views.expect, name="expect"),
    path("golden/import/", views.import_golden, name="import"),
    path("golden/export.csv", views.export_golden, name="export"),
    path("golden/score/", views.score, name="score"),
    path("golden/runs/<uuid:run_id>/", views.run, name="run"),
    path("golden/questions/<uuid:question_id>/delete/", views.delete_question, name="delete"),
]
