"""Included under `w/<slug:workspace>/tuning/`."""

from django.urls import path

from praxis.tuning import encoder_views, views

app_name = "tuning"
urlpatterns = [
    path("", views.index, name="index"),
    path("data/", views.datasets, name="datasets"),
    path("data/upload/", views.upload, name="upload"),
    path("data/corrections/", views.corrections, name="corrections"),
    path("data/<uuid:dataset_id>/", views.dataset, name="dataset"),
    path("data/versions/<uuid:version_id>/", views.version, name="version"),
    path("data/versions/<uuid:version_id>/usable.jsonl", views.usable_lines, name="usable_lines"),
    path("runs/new/", views.launch, name="launch"),
    path("runs/<uuid:run_id>/", views.run, name="run"),
    path("runs/<uuid:run_id>/status/", views.run_status, name="run_status"),
    path("runs/<uuid:run_id>/metrics.json", views.run_metrics, name="run_metrics"),
    path("runs/<uuid:run_id>/log/", views.run_log, name="run_log"),
    path("experts/", views.experts, name="experts"),
    path("adapters/", views.adapters, name="adapters"),
    path("adapters/<uuid:adapter_id>/promote/", views.promote, name="promote"),
    path("adapters/<uuid:adapter_id>/retire/", views.retire, name="retire"),
    path("encoders/", encoder_views.encoders, name="encoders"),
    path("encoders/return/", encoder_views.go_back, name="encoder_return"),
    path("encoders/<uuid:encoder_id>/", encoder_views.encoder, name="encoder"),
    path("encoders/<uuid:encoder_id>/status/", encoder_views.status, name="encoder_status"),
    path("encoders/<uuid:encoder_id>/use/", encoder_views.use, name="encoder_use"),
    path("encoders/<uuid:encoder_id>/retire/", encoder_views.retire, name="encoder_retire"),
    path("assistants/<slug:assistant>/return/", views.go_back, name="go_back"),
]
