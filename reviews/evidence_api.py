"""Evidence packs and samples over REST."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from django.core.exceptions import ValidationError as Refused
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.views import APIView

from access.actors import Actor
from access.rights import Right
from inventory.models import Credential
from inventory.serializers import CredentialSerializer
from lifecycle.filters import CredentialPageFilter
from reviews import pack_shapes
from reviews.actions.evidence import request_pack
from reviews.errors import ReviewError
from reviews.models import EvidencePack
from reviews.models.sampling import bundles, drawn
from reviews.packing.building import ZIP, population_of, served
from reviews.packing.writing import as_json
from reviews.packs import LARGEST_SAMPLE, USUAL_SAMPLE, NotABuilder, PackMissing, PackNotReady, PackRefused, PackRemoved
from reviews.sampling import METHOD
from reviews.tasks import ring_pack
from web.api import ARRIVAL, ByHeader, answer, check_parameters, cleaned
from web.paging import Ordering
from web.problems import problem
from web.schema import refusals_of_a_read
from web.writes import CREATED, WritingViewSet, writes

USUAL_SEED = "keyreeve"


class EvidencePackViewSet(WritingViewSet):
    """Packs of evidence: asked for, built by a worker, downloaded. Each is of the whole estate."""

    queryset = EvidencePack.objects.all()
    serializer_class = pack_shapes.EvidencePackSerializer
    object_class = pack_shapes.EvidencePackObjectSerializer
    filterset_class = pack_shapes.EvidencePackFilter
    orderings = (ARRIVAL, Ordering("requested_at", ("requested_at",)))
    rights: ClassVar = {"*": Right.BUILD_EVIDENCE}
    refusals: ClassVar = {NotABuilder: 403, PackRefused: 400, ReviewError: 409}
    files: ClassVar = {"download": "download"}
    file_refusals: ClassVar = {
        "409": "It is not built yet, or could not be.",
        "410": "Its file was removed after its time; what was in it is still said.",
    }

    @writes(pack_shapes.EvidencePackBody, "Ask for an evidence pack. A worker builds it.", status=CREATED)
    def create(self, given: Mapping[str, Any]) -> EvidencePack:
        try:
            population_of(given["sample_filter"])
            pack = request_pack(actor=self.actor, now=timezone.now(), **given)
        except Refused as exc:
            raise ValidationError({"sample_filter": exc.messages}) from exc
        except PackRefused as exc:
            raise ValidationError({name: [said] for name, said in exc.problems.items()}) from exc
        ring_pack(pack)
        return pack

    @extend_schema(
        operation_id="download_evidence_packs",
        summary="The pack as a ZIP.",
        parameters=[],
        responses={(200, ZIP): OpenApiTypes.BINARY},
        filters=False,
    )
    def download(self, request: Request, **kwargs: Any) -> HttpResponseBase:
        check_parameters(request.query_params, ())
        pack = self.get_queryset().filter(pk=kwargs["id"]).first()
        if pack is None:
            raise Http404
        try:
            return served(pack)
        except PackNotReady as exc:
            return problem(409, str(exc))
        except PackMissing as exc:
            return problem(404, str(exc))
        except PackRemoved as exc:
            return problem(410, str(exc))


class EvidenceSample(APIView):
    """A sample of credentials with the evidence about each. The same filter, size and seed draw the same again."""

    http_method_names = ["get", "head", "options"]  # noqa: RUF012  declared so by the framework
    content_negotiation_class = ByHeader

    @extend_schema(
        operation_id="draw_evidence_sample",
        tags=["evidence-packs"],
        summary="Draw a sample of credentials by a seed, each with its evidence. Filters are those of credentials.",
        parameters=[
            OpenApiParameter("size", {"type": "integer", "minimum": 1, "maximum": LARGEST_SAMPLE}),
            OpenApiParameter("seed", str, description="Any text; the same draws the same again."),
        ],
        responses={200: OpenApiTypes.OBJECT, **refusals_of_a_read()},
    )
    def get(self, request: Request) -> HttpResponse:
        check_parameters(
            request.query_params,
            {*CredentialPageFilter.base_filters, "size", "seed"},
            repeatable=CredentialPageFilter.base_filters,
        )
        actor: Actor = request._request.actor  # type: ignore[attr-defined]
        size, seed = _size(request), request.query_params.get("seed", USUAL_SEED)
        params = request.query_params.copy()
        for name in ("size", "seed"):
            params.pop(name, None)
        filters = CredentialPageFilter(params, queryset=Credential.objects.visible_to(actor), request=request._request)
        cleaned(filters)
        sample = drawn(filters.qs, size=size, seed=seed)
        found = bundles(sample)
        root = request.build_absolute_uri("/api/v1/")
        rows = Credential.objects.filter(pk__in=[each.pk for each in sample])
        texts = dict(
            rows.annotate(json_text=CredentialSerializer.row(root, CredentialSerializer.names())).values_list(
                "pk", "json_text"
            )
        )
        said = {
            "filter": params.urlencode(),
            "size": size,
            "seed": seed,
            "method": METHOD,
            "population": filters.qs.count(),
            "results": [
                {
                    "lot": each.lot,  # type: ignore[attr-defined]
                    "credential": json.loads(texts[each.pk]),
                    "evidence": found[each.pk],
                }
                for each in sample
            ],
        }
        return answer(request._request, as_json(said).encode())


def _size(request: Request) -> int:
    asked = request.query_params.get("size", str(USUAL_SAMPLE))
    if not asked.isascii() or not asked.isdecimal() or len(asked) > 6 or not 1 <= int(asked) <= LARGEST_SAMPLE:
        raise ValidationError({"size": [f"Give a number from 1 to {LARGEST_SAMPLE}."]})
    return int(asked)
