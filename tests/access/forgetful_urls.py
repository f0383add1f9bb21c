"""Addresses whose right somebody forgot."""

from typing import ClassVar

from django.http import HttpRequest, HttpResponse
from django.urls import path
from rest_framework.request import Request
from rest_framework.views import APIView

from access.rights import Right
from config.urls import urlpatterns as known


def forgotten(request: HttpRequest) -> HttpResponse:
    return HttpResponse("in")


class HalfForgotten(APIView):
    """Reads and writes, and says nothing of its writes."""

    rights: ClassVar = {"get": Right.READ}

    def get(self, request: Request) -> HttpResponse:
        return HttpResponse("in")

    def post(self, request: Request) -> HttpResponse:
        return HttpResponse("in")


urlpatterns = [*known, path("forgotten/", forgotten), path("half-forgotten/", HalfForgotten.as_view())]
