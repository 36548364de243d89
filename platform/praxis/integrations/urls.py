from django.urls import path

from praxis.integrations import channel_views, views

app_name = "integrations"
urlpatterns = [
    path("", views.index, name="index"),
    path("keys/", views.create_key, name="create_key"),
    path("keys/<uuid:key>/revoke/", views.revoke_key, name="revoke_key"),
    path("webhooks/", views.create_webhook, name="create_webhook"),
    path("webhooks/<uuid:endpoint>/", views.webhook, name="webhook"),
    path("channels/", channel_views.index, name="channels"),
    path("channels/<uuid:channel>/", channel_views.channel, name="channel"),
    path("channels/<uuid:channel>/rotate/", channel_views.rotate, name="rotate_channel"),
    path("channels/<uuid:channel>/switch/", channel_views.switch, name="switch_channel"),
    path("channels/<uuid:channel>/delete/", channel_views.delete, name="delete_channel"),
    path("channels/<uuid:channel>/test/", channel_views.test, name="test_channel"),
    path("deliveries/<int:delivery>/replay/", views.replay, name="replay"),
]
