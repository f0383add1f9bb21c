"""What the risk order is made of, for whoever asks why one credential stands above another."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from access.permissions import requires_reader
from lifecycle.rules.score import MOST, PARTS


@require_GET
@requires_reader
def risk_order(request: HttpRequest) -> HttpResponse:
    return render(request, "lifecycle/risk_order.html", {"parts": PARTS, "most": MOST})
