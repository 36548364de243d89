from django.urls import path

from apps.customer_service import draft_views, views

app_name = "customer_service"
DRAFT = "<slug:name>/draft/"
urlpatterns = [
    path("", views.service_list, name="services"),
    path("new/", draft_views.draft_new, name="service_new"),
    path("import/", draft_views.draft_import, name="service_import"),
    path("intents/train/", views.intents_train, name="intents_train"),
    path("intents/use/", views.intents_use, name="intents_use"),
    path("<slug:name>/", views.service_detail, name="service"),
    path("<slug:name>/<int:version>/", views.service_detail, name="service_version"),
    path("<slug:name>/<int:version>/changes/", views.service_changes, name="service_changes"),
    path("<slug:name>/<int:version>/export/", views.service_export, name="service_export"),
    path("<slug:name>/<int:version>/publish/", views.service_publish, name="service_publish"),
    path("<slug:name>/<int:version>/edit/", draft_views.draft_open, name="service_edit"),
    path(DRAFT, draft_views.draft, name="draft"),
    path(f"{DRAFT}about/", draft_views.draft_about, name="draft_about"),
    path(f"{DRAFT}json/", draft_views.draft_json, name="draft_json"),
    path(f"{DRAFT}rehearse/", draft_views.draft_rehearse, name="draft_rehearse"),
    path(f"{DRAFT}publish/", draft_views.draft_publish, name="draft_publish"),
    path(f"{DRAFT}discard/", draft_views.draft_discard, name="draft_discard"),
    *(
        pattern
        for part in ("slots", "intents")
        for pattern in (
            path(f"{DRAFT}{part}/", draft_views.draft_part, {"part": part}, name=f"draft_{part}"),
            path(
                f"{DRAFT}{part}/<slug:entry>/",
                draft_views.draft_part,
                {"part": part},
                name=f"draft_{part}",
            ),
            path(
                f"{DRAFT}{part}/<slug:entry>/act/",
                draft_views.draft_part_act,
                {"part": part},
                name=f"draft_{part}_act",
            ),
        )
    ),
]
