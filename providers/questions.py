"""What a probe asks an MCP server, by name: the keys of a server observation's exchanges."""

from enum import StrEnum


class Question(StrEnum):
    """One request each. Those of the first group carry no credential at all."""

    DISCOVER = "discover"  # the handshake of 2026-07-28
    INITIALIZE = "initialize"  # the handshake of the versions before
    TOOLS = "tools"  # tools/list: some servers answer the handshake to anybody and gate what follows
    METADATA_NAMED = "metadata_named"  # protected resource metadata where the challenge says it is
    METADATA_AT_PATH = "metadata_at_path"  # … at the well-known address of the server's own path
    METADATA_AT_ROOT = "metadata_at_root"  # … at the well-known address of its host
    OWN_ISSUER = "own_issuer"  # 2025-03-26: the host's own authorization server metadata
    EVENTS = "events"  # GET: HTTP+SSE, or the stream of a later transport
    EVENTS_BESIDE = "events_beside"  # … where HTTP+SSE usually stands beside it
    PLAIN_HTTP = "plain_http"  # the same address without TLS
    FOREIGN_ORIGIN = "foreign_origin"
    ANOTHER_SESSION = "another_session"
    THIRD_SESSION = "third_session"
    DELETE = "delete"
    VERSION_MISMATCH = "version_mismatch"
    VERSION_UNHEARD = "version_unheard"

    # Tokens made up on the spot, which no authorization server issued.
    INVALID_TOKEN = "invalid_token"
    UNSIGNED_TOKEN = "unsigned_token"
    FORGED_TOKEN = "forged_token"

    # With the credential given for this server.
    AUTHORIZED_DISCOVER = "authorized_discover"
    AUTHORIZED_INITIALIZE = "authorized_initialize"
    SESSION_ALONE = "session_alone"  # a session that a credential opened, used without one

    # With test credentials, only when opted in.
    EXPIRED_TOKEN = "expired_token"
    OTHER_AUDIENCE = "other_audience"
    QUERY_TOKEN = "query_token"
    LOW_SCOPE = "low_scope"
    REVOKED_TOKEN = "revoked_token"  # `seconds` counts from the revocation
