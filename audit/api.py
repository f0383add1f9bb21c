"""The audit chain over REST, for auditors: list it, take it along, verify it offline."""

from audit.filters import AuditEntryFilter
from audit.models import AuditEntry
from audit.serializers import AuditEntrySerializer
from web.api import ReadOnlyViewSet


class AuditEntryViewSet(ReadOnlyViewSet):
    queryset = AuditEntry.objects.all()
    serializer_class = AuditEntrySerializer
    filterset_class = AuditEntryFilter
    lookup_value_converter = "int"
