from django.urls import path

from apps.medical import views

app_name = "medical"
urlpatterns = [
    path("", views.review_list, name="reviews"),
    path("answers/<uuid:message_id>/", views.review_detail, name="review"),
    path("emergency/", views.emergency, name="emergency"),
]
