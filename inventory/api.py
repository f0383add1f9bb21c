"""The inventory over REST: read-only, and each actor sees what it may."""

from typing import Any

from django.db.models import Q, QuerySet

from access.actors import Actor
from inventory import filters, serializers
from inventory.models import (
    AuthorizationServer,
    ClientRemoval,
    Connection,
    Credential,
    Environment,
    Exposure,
    Grant,
    LoggingRecord,
    Manifest,
    McpClient,
    McpServer,
    MetadataSnapshot,
    Owner,
    PostureCheck,
    SyncRun,
    Tool,
    Use,
)
from web.api import ARRIVAL, ReadOnlyViewSet
from web.paging import Ordering

Rows = QuerySet[Any]

BY_NAME = Ordering("name", ("name",))
BY_RISK = Ordering("risk", ("risk",))


class OwnerViewSet(ReadOnlyViewSet):
    queryset = Owner.objects.all()
    serializer_class = serializers.OwnerSerializer
    filterset_class = filters.OwnerFilter
    orderings = (ARRIVAL, BY_NAME)


class EnvironmentViewSet(ReadOnlyViewSet):
    queryset = Environment.objects.all()
    serializer_class = serializers.EnvironmentSerializer
    filterset_class = filters.EnvironmentFilter
    orderings = (ARRIVAL, BY_NAME, Ordering("criticality", ("criticality",)))

    def visible(self, actor: Actor) -> Rows:
        return self.queryset.all()


class ConnectionViewSet(ReadOnlyViewSet):
    queryset = Connection.objects.all()
    serializer_class = serializers.ConnectionSerializer
    filterset_class = filters.ConnectionFilter
    orderings = (ARRIVAL, BY_NAME)


class SyncRunViewSet(ReadOnlyViewSet):
    queryset = SyncRun.objects.all()
    serializer_class = serializers.SyncRunSerializer
    filterset_class = filters.SyncRunFilter

    def visible(self, actor: Actor) -> Rows:
        return _within(self.queryset.all(), actor, Q(connection__in=Connection.objects.visible_to(actor).values("pk")))


class AuthorizationServerViewSet(ReadOnlyViewSet):
    queryset = AuthorizationServer.objects.all()
    serializer_class = serializers.AuthorizationServerSerializer
    filterset_class = filters.AuthorizationServerFilter


class ServerViewSet(ReadOnlyViewSet):
    queryset = McpServer.objects.all()
    serializer_class = serializers.ServerSerializer
    filterset_class = filters.McpServerFilter
    orderings = (ARRIVAL, BY_NAME, BY_RISK)


class ToolViewSet(ReadOnlyViewSet):
    queryset = Tool.objects.all()
    serializer_class = serializers.ToolSerializer
    filterset_class = filters.ToolFilter

    def visible(self, actor: Actor) -> Rows:
        return _within(self.queryset.all(), actor, Q(server__in=_servers(actor)))


class PostureCheckViewSet(ReadOnlyViewSet):
    queryset = PostureCheck.objects.all()
    serializer_class = serializers.PostureCheckSerializer
    filterset_class = filters.PostureCheckFilter


class LoggingRecordViewSet(ReadOnlyViewSet):
    queryset = LoggingRecord.objects.all()
    serializer_class = serializers.LoggingRecordSerializer
    filterset_class = filters.LoggingRecordFilter


class MetadataSnapshotViewSet(ReadOnlyViewSet):
    queryset = MetadataSnapshot.objects.all()
    serializer_class = serializers.MetadataSnapshotSerializer
    filterset_class = filters.MetadataSnapshotFilter


class ClientViewSet(ReadOnlyViewSet):
    queryset = McpClient.objects.all()
    serializer_class = serializers.ClientSerializer
    filterset_class = filters.McpClientFilter
    orderings = (ARRIVAL, BY_NAME, BY_RISK)


class ClientRemovalViewSet(ReadOnlyViewSet):
    queryset = ClientRemoval.objects.all()
    serializer_class = serializers.ClientRemovalSerializer
    filterset_class = filters.ClientRemovalFilter


class GrantViewSet(ReadOnlyViewSet):
    queryset = Grant.objects.all()
    serializer_class = serializers.GrantSerializer
    filterset_class = filters.GrantFilter


class ManifestViewSet(ReadOnlyViewSet):
    queryset = Manifest.objects.all()
    serializer_class = serializers.ManifestSerializer
    filterset_class = filters.ManifestFilter

    def visible(self, actor: Actor) -> Rows:
        return _within(self.queryset.all(), actor, Q(connection__in=Connection.objects.visible_to(actor).values("pk")))


class CredentialViewSet(ReadOnlyViewSet):
    queryset = Credential.objects.all()
    serializer_class = serializers.CredentialSerializer
    filterset_class = filters.CredentialFilter
    orderings = (ARRIVAL, BY_NAME, Ordering("risk", ("risk", "score")), Ordering("known_since", ("known_since",)))


class ExposureViewSet(ReadOnlyViewSet):
    queryset = Exposure.objects.all()
    serializer_class = serializers.ExposureSerializer
    filterset_class = filters.ExposureFilter
    orderings = (ARRIVAL, Ordering("file", ("file",)))


class UseViewSet(ReadOnlyViewSet):
    queryset = Use.objects.all()
    serializer_class = serializers.UseSerializer
    filterset_class = filters.UseFilter

    def visible(self, actor: Actor) -> Rows:
        """An owner learns nothing of a foreign credential: not even that it reaches their server."""
        credentials = Credential.objects.visible_to(actor).values("pk")
        without = Q(credential=None) & (Q(server__in=_servers(actor)) | Q(client__in=_clients(actor)))
        return _within(self.queryset.all(), actor, Q(credential__in=credentials) | without)


def _within(rows: Rows, actor: Actor, mine: Q) -> Rows:
    return rows if actor.sees_everything else rows.filter(mine)


def _servers(actor: Actor) -> Rows:
    return McpServer.objects.visible_to(actor).values("pk")


def _clients(actor: Actor) -> Rows:
    return McpClient.objects.visible_to(actor).values("pk")
