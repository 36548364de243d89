"""The workspace's widgets, under /w/<workspace>/widgets/."""

from django.urls import path

from praxis.widget import workspace_views as views

app_name = "widgets"

urlpatterns = [
    path("", views.index, name="index"),
    path("<uuid:widget_id>/", views.edit, name="edit"),
    path("<uuid:widget_id>/demo/", views.demo, name="demo"),
    path("<uuid:widget_id>/delete/", views.delete, name="delete"),
]
