from django.urls import path

from inventory.views import assignments, authorization_servers, clients, connections, exposures, owners, servers

urlpatterns = [
    path("servers/", servers.server_list, name="server_list"),
    path("servers/assign-owner/", assignments.server_assign_owner, name="server_assign_owner"),
    path("servers/assign-environment/", assignments.server_assign_environment, name="server_assign_environment"),
    path("servers/classify/", assignments.server_classify, name="server_classify"),
    path("authorization-servers/", authorization_servers.authorization_server_list, name="authorization_server_list"),
    path(
        "authorization-servers/<uuid:pk>/",
        authorization_servers.authorization_server_detail,
        name="authorization_server_detail",
    ),
    path(
        "authorization-servers/<uuid:pk>/answer/<slug:check_id>/",
        authorization_servers.authorization_server_answer,
        name="authorization_server_answer",
    ),
    path("clients/", clients.client_list, name="client_list"),
    path("clients/assign-owner/", assignments.client_assign_owner, name="client_assign_owner"),
    path("credentials/assign-owner/", assignments.credential_assign_owner, name="credential_assign_owner"),
    path(
        "credentials/assign-environment/",
        assignments.credential_assign_environment,
        name="credential_assign_environment",
    ),
    path("exposures/", exposures.exposure_list, name="exposure_list"),
    path("owners/", owners.owner_list, name="owner_list"),
    path("owners/new/", owners.owner_create, name="owner_create"),
    path("owners/<uuid:pk>/", owners.owner_detail, name="owner_detail"),
    path("owners/<uuid:pk>/active/", owners.owner_activate, name="owner_activate"),
    path("connections/", connections.connection_list, name="connection_list"),
    path("connections/new/", connections.connection_choose, name="connection_choose"),
    path("connections/new/<slug:kind>/", connections.connection_create, name="connection_create"),
    path("connections/<uuid:pk>/", connections.connection_detail, name="connection_detail"),
    path("connections/<uuid:pk>/edit/", connections.connection_edit, name="connection_edit"),
    path("connections/<uuid:pk>/test/", connections.connection_test, name="connection_test"),
    path("connections/<uuid:pk>/remove/", connections.connection_remove, name="connection_remove"),
    path("connections/<uuid:pk>/sync/", connections.connection_sync, name="connection_sync"),
    path("connections/<uuid:pk>/enabled/", connections.connection_enable, name="connection_enable"),
]
