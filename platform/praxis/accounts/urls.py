from django.urls import path

from praxis.accounts import views

app_name = "accounts"
urlpatterns = [
    path("", views.members, name="members"),
    path("<int:membership>/", views.member, name="member"),
]
