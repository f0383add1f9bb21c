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
    AUTHORIZED_EVENTS = "authorized_events"
    SESSION_ALONE = "session_alone"  # a session that a credential opened, used without one

    # With test credentials, only when opted in.
    EXPIRED_TOKEN = "expired_token"
    OTHER_AUDIENCE = "other_audience"
    QUERY_TOKEN = "query_token"
    LOW_SCOPE = "low_scope"
    REVOKED_TOKEN = "revoked_token"  # `seconds` counts from the revocation


class IssuerQuestion(StrEnum):
    """What is asked of an authorization server, by name: the keys of its observation's exchanges."""

    METADATA_OAUTH = "metadata_oauth"  # RFC 8414
    METADATA_OPENID_INSERTED = "metadata_openid_inserted"  # OpenID Connect Discovery, before the issuer's path
    METADATA_OPENID = "metadata_openid"  # … and behind it
    JWKS = "jwks"

    # Without effect.
    REGISTRATION_INVALID = "registration_invalid"  # a body that nobody may accept
    REVOCATION_ANONYMOUS = "revocation_anonymous"
    INTROSPECTION_ANONYMOUS = "introspection_anonymous"
    TOKEN_UNKNOWN_CLIENT = "token_unknown_client"

    # Without effect, as a client that is registered there.
    AUTHORIZE_WELL_FORMED = "authorize_well_formed"  # what the others are compared with
    AUTHORIZE_OTHER_HOST = "authorize_other_host"
    AUTHORIZE_OTHER_PATH = "authorize_other_path"
    AUTHORIZE_WITHOUT_CHALLENGE = "authorize_without_challenge"
    AUTHORIZE_UNKNOWN_TYPE = "authorize_unknown_type"

    # By registering clients, only when opted in.
    REGISTRATION_JAVASCRIPT = "registration_javascript"
    REGISTRATION_PLAIN_HTTP = "registration_plain_http"
    REGISTRATION_WILDCARD = "registration_wildcard"
    REGISTRATION_FRAGMENT = "registration_fragment"
    REGISTRATION_CONFIDENTIAL = "registration_confidential"
    REGISTRATION_PUBLIC = "registration_public"

    # With a client of the owner, only when opted in.
    TOKEN = "token"
    INTROSPECTION = "introspection"  # of a token that does not say what it is for
    TOKEN_UNREGISTERED_RESOURCE = "token_unregistered_resource"
    REFRESH = "refresh"
    REFRESH_AGAIN = "refresh_again"  # with the token that was used already
    REFRESH_NEWEST = "refresh_newest"  # with what came of it, after that reuse
