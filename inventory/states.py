"""The vocabulary of the inventory: what a row can be."""

from django.db.models import IntegerChoices, TextChoices


class Severity(IntegerChoices):
    """How bad the worst open finding is. Ordered, so that sorting by it is sorting by risk."""

    NONE = 0, "None"
    LOW = 1, "Low"
    MEDIUM = 2, "Medium"
    HIGH = 3, "High"
    CRITICAL = 4, "Critical"


class OwnerKind(TextChoices):
    PERSON = "person", "Person"
    TEAM = "team", "Team"


class ConnectionKind(TextChoices):
    MCP_CONFIG = "mcp_config", "MCP client configuration"
    MCP_SERVER = "mcp_server", "MCP servers"
    OAUTH = "oauth", "Authorization server"
    AWS = "aws", "AWS account"
    POSTGRES = "postgres", "PostgreSQL"
    FEED = "feed", "Feed"
    PLUG_IN = "plug_in", "Plug-in"


class Part(TextChoices):
    """What an owner stands for: a thing, or one of the three sides of a server."""

    CREDENTIAL = "credential", "Credential"
    CLIENT = "client", "Client"
    IAM_OWNER = "iam_owner", "Server, as IAM owner"
    PLATFORM_OWNER = "platform_owner", "Server, as platform owner"
    APPLICATION_OWNER = "application_owner", "Server, as application owner"


SERVER_PARTS = (Part.IAM_OWNER, Part.PLATFORM_OWNER, Part.APPLICATION_OWNER)


class Stage(TextChoices):
    """Whom a question about ownership has come to."""

    OWNER = "owner", "Owner"
    DEPUTY = "deputy", "Deputy"
    MANAGER = "manager", "Manager"


class QuestionState(TextChoices):
    OPEN = "open", "Asked"
    ACCEPTED = "accepted", "Accepted"
    HANDED_OVER = "handed_over", "Handed over"
    SETTLED = "settled", "Settled elsewhere"
    QUARANTINED = "quarantined", "Quarantined"


class RunState(TextChoices):
    RUNNING = "running", "Running"
    COMPLETE = "complete", "Complete"
    PARTIAL = "partial", "Partial"
    FAILED = "failed", "Failed"


class Transport(TextChoices):
    STDIO = "stdio", "stdio"
    HTTP = "http", "HTTP"
    SSE = "sse", "SSE"
    WEBSOCKET = "websocket", "WebSocket"
    UNKNOWN = "unknown", "Unknown"


class ServerRole(TextChoices):
    UNCLASSIFIED = "unclassified", "Unclassified"
    TOOL_ENDPOINT = "tool_endpoint", "Tool endpoint"
    DELEGATED_LAYER = "delegated_layer", "Delegated authorization layer"
    MIXED = "mixed", "Mixed"


class Authentication(TextChoices):
    """What a server asks of whoever calls it, as a probe saw."""

    ANONYMOUS = "anonymous", "Nothing"
    TOKEN = "token", "A token"
    OAUTH = "oauth", "OAuth"


class Registration(TextChoices):
    PRE_REGISTERED = "pre_registered", "Pre-registered"
    CIMD = "cimd", "Client ID metadata document"
    DYNAMIC = "dynamic", "Dynamic"
    CONFIG_FILE = "config_file", "Configuration file"


class Admission(TextChoices):
    QUARANTINED = "quarantined", "Quarantined"
    ADMITTED = "admitted", "Admitted"
    SUSPENDED = "suspended", "Suspended"
    REMOVED = "removed", "Removed"


class Hygiene(TextChoices):
    """Whether a registration is still one that somebody needs."""

    LIVE = "live", "Live"
    DUPLICATE = "duplicate", "Duplicate"
    DEAD = "dead", "Dead"
    UNKNOWN = "unknown", "Unknown"


class RemovalStage(TextChoices):
    """How far the removal of a client is. Pruning at once breaks desktop clients, so it takes steps."""

    ANNOUNCED = "announced", "Owner told"
    SUSPENDED = "suspended", "Suspended"
    DELETING = "deleting", "Deletion under way"
    WAITING = "waiting", "Waits for a sync"
    STALLED = "stalled", "Stalled"
    REMOVED = "removed", "Removed"
    WITHDRAWN = "withdrawn", "Withdrawn"
    STOPPED = "stopped", "Stopped"


REMOVAL_ENDED = (RemovalStage.REMOVED, RemovalStage.WITHDRAWN, RemovalStage.STOPPED)
# Their next step is taken at a time; the other open ones wait for a sync or for a person.
REMOVAL_TIMED = (RemovalStage.ANNOUNCED, RemovalStage.SUSPENDED, RemovalStage.DELETING)


class CredentialKind(TextChoices):
    API_KEY = "api_key", "API key"
    OAUTH_ACCESS_TOKEN = "oauth_access_token", "Access token"
    OAUTH_REFRESH_TOKEN = "oauth_refresh_token", "Refresh token"
    OAUTH_CLIENT_SECRET = "oauth_client_secret", "Client secret"
    REGISTRATION_TOKEN = "registration_token", "Registration token"
    AWS_ACCESS_KEY = "aws_access_key", "AWS access key"
    DATABASE_PASSWORD = "database_password", "Database password"
    PERSONAL_ACCESS_TOKEN = "personal_access_token", "Personal access token"
    OTHER = "other", "Other"


class TrustModel(TextChoices):
    STATIC_SERVICE = "static_service", "Static service"
    USER_CONSENTED = "user_consented", "User-consented"
    UNKNOWN = "unknown", "Unknown"


class Logged(TextChoices):
    """What happens to the tokens and keys that a server takes, and what it must log of it."""

    ISSUANCE = "issuance", "Issuance"
    VALIDATION = "validation", "Validation"
    REFRESH = "refresh", "Refresh"
    REVOCATION = "revocation", "Revocation"


class CredentialStatus(TextChoices):
    ACTIVE = "active", "Active"
    ROTATING = "rotating", "Rotating"
    SUSPENDED = "suspended", "Suspended"
    DESTROYED = "destroyed", "Destroyed"
    EXPIRED = "expired", "Expired"
    UNKNOWN = "unknown", "Unknown"


# Nobody can use these any more; every other status, unknown included, counts as live.
ENDED = (CredentialStatus.DESTROYED, CredentialStatus.EXPIRED)


class Storage(TextChoices):
    """Where discovery found the credential's value kept."""

    LITERAL = "literal", "Literal in a file"
    REFERENCE = "reference", "Reference"
    TOKEN_STORE = "token_store", "Client's token store"
    PROVIDER = "provider", "Known from its provider"


class GrantState(TextChoices):
    DRAFT = "draft", "Draft"
    APPROVED = "approved", "Approved"
    ENDED = "ended", "Ended"
    WITHDRAWN = "withdrawn", "Withdrawn"


class Reach(TextChoices):
    """What one client can do on one server, held against what was granted. The worst is named first."""

    EXCEEDS = "exceeds", "Exceeds its grant"
    NONE = "none", "No grant"
    ENDED = "ended", "Grant ended"
    DRAFT = "draft", "Draft"
    UNKNOWN = "unknown", "Approved, reach unknown"
    APPROVED = "approved", "Approved"
    UNUSED = "unused", "Granted, not configured"


class Mismatch(TextChoices):
    """How what a tool asks, what a session carries and what an identity may do can differ."""

    DESTRUCTIVE_UNGRANTED = "destructive_ungranted", "Destructive tool without a grant"
    NO_GRANT = "no_grant", "Reached without a grant"
    GRANT_ENDED = "grant_ended", "Grant ended"
    TOOLS_UNGRANTED = "tools_ungranted", "Tools beyond the grant"
    TOOL_CHANGED = "tool_changed", "Definition changed after approval"
    SCOPE_NOT_GRANTED = "scope_not_granted", "Carried, not granted"
    SCOPE_NOT_REGISTERED = "scope_not_registered", "Carried, not registered"
    SERVER_ASKS_MORE = "server_asks_more", "Server asks for more"
    SCOPE_NOT_CARRIED = "scope_not_carried", "Granted, not carried"
    TOOL_NOT_OFFERED = "tool_not_offered", "Granted, not offered"
    TOOLS_UNKNOWN = "tools_unknown", "Tools unknown"
    SCOPES_UNKNOWN = "scopes_unknown", "Session's scopes unknown"


UNKNOWN_MISMATCHES = (Mismatch.TOOLS_UNKNOWN, Mismatch.SCOPES_UNKNOWN)
# Wider than needed, and nothing that anybody can do today.
IDLE_MISMATCHES = (Mismatch.SCOPE_NOT_CARRIED, Mismatch.TOOL_NOT_OFFERED)


class Verdict(TextChoices):
    MET = "met", "Met"
    VIOLATED = "violated", "Violated"
    UNKNOWN = "unknown", "Unknown"
    NOT_APPLICABLE = "not_applicable", "Not applicable"
