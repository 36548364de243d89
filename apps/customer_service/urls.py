from django.urls import path

from apps.customer_service import views

app_name = "customer_service"
urlpatterns = [
    path("", views.service_list, name="services"),
    path("new/", views.service_edit, name="service_new"),
    path("<slug:name>/", views.service_detail, name="service"),
    path("<slug:name>/edit/", views.service_edit, name="service_edit"),
    path("<slug:name>/<int:version>/", views.service_detail, name="service_version"),
    path("<slug:name>/<int:version>/publish/", views.service_publish, name="service_publish"),
]
