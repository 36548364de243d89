from django.urls import path

from praxis.analytics import views

app_name = "analytics"
urlpatterns = [
    path("", views.index, name="index"),
    path("export.csv", views.export, name="export"),
    path("drafts/", views.draft, name="draft"),
    path("drafts/<uuid:document_id>/publish/", views.publish_draft, name="publish"),
]
