from django.urls import path

from apps.legal import views

app_name = "legal"
urlpatterns = [
    path("", views.index, name="index"),
    path("drafts/<uuid:draft_id>/", views.draft, name="draft"),
    path("drafts/<uuid:draft_id>/agreement.docx", views.docx, name="docx"),
]
