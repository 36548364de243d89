from django.urls import path

from praxis.integrations import views

app_name = "integrations"
urlpatterns = [
    path("", views.index, name="index"),
    path("keys/", views.create_key, name="create_key"),
    path("keys/<uuid:key>/revoke/", views.revoke_key, name="revoke_key"),
    path("webhooks/", views.create_webhook, name="create_webhook"),
    path("webhooks/<uuid:endpoint>/", views.webhook, name="webhook"),
    path("deliveries/<int:delivery>/replay/", views.replay, name="replay"),
]
