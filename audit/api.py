"""The audit chain over REST, for auditors: list it, take it along, verify it offline."""

from audit.filters import AuditEntryFilter, ChainHeadFilter
from audit.models import AuditEntry, ChainHead
from audit.serializers import AuditEntrySerializer, ChainHeadSerializer
from web.api import ReadOnlyViewSet


class AuditEntryViewSet(ReadOnlyViewSet):
    queryset = AuditEntry.objects.all()
    serializer_class = AuditEntrySerializer
    filterset_class = AuditEntryFilter
    lookup_value_converter = "int"


class ChainHeadViewSet(ReadOnlyViewSet):
    queryset = ChainHead.objects.all()
    serializer_class = ChainHeadSerializer
    filterset_class = ChainHeadFilter
    lookup_value_converter = "int"
