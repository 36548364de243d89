"""What visitors' browsers ask for, under /widget/."""

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from praxis.widget import stream_views, views


class ActConverter(StringConverter):
    regex = "|".join(views.ACTS)


register_converter(ActConverter, "widget_act")

app_name = "widget"

urlpatterns = [
    path("<str:key>.js", views.loader, name="loader"),
    path("<str:key>/", views.frame, name="frame"),
    path("<str:key>/session", views.session, name="session"),
    path("<str:key>/transcript", views.transcript, name="transcript"),
    path("<str:key>/messages", views.say, name="say"),
    path("<str:key>/messages/<uuid:message_id>/events", stream_views.answer, name="answer"),
    path("<str:key>/live", stream_views.live, name="live"),
    path("<str:key>/<widget_act:name>", views.act, name="act"),
]
