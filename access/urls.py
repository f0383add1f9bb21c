from django.urls import path

from access import views

urlpatterns = [path("sign-in/", views.one_time, name="one_time_sign_in")]
