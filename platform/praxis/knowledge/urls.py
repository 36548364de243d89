"""Included under `w/<slug:workspace>/knowledge/`."""

from django.urls import path

from praxis.knowledge import views

app_name = "knowledge"
urlpatterns = [
    path("", views.index, name="index"),
    path("corpora/new/", views.add_corpus, name="add_corpus"),
    path("corpora/<uuid:corpus_id>/", views.corpus, name="corpus"),
    path("corpora/<uuid:corpus_id>/edit/", views.edit_corpus, name="edit_corpus"),
    path("corpora/<uuid:corpus_id>/delete/", views.delete_corpus, name="delete_corpus"),
    path("corpora/<uuid:corpus_id>/upload/", views.upload, name="upload"),
    path("corpora/<uuid:corpus_id>/documents/", views.document_rows, name="document_rows"),
    path("corpora/<uuid:corpus_id>/import/", views.start_import, name="start_import"),
    path("corpora/<uuid:corpus_id>/imports/", views.import_rows, name="import_rows"),
    path("documents/<uuid:document_id>/edit/", views.edit_document, name="edit_document"),
    path("documents/<uuid:document_id>/", views.document, name="document"),
    path("documents/<uuid:document_id>/delete/", views.delete_document, name="delete_document"),
    path("chunks/<int:chunk_id>/edit/", views.edit_chunk, name="edit_chunk"),
    path("versions/<uuid:version_id>/chunks/", views.chunks, name="chunks"),
    path("versions/<uuid:version_id>/pages/<int:number>.png", views.page, name="page"),
    path("versions/<uuid:version_id>/file/", views.download, name="download"),
]
