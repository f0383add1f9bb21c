"""The vocabulary of notices: by which way they go, what became of each, and when a person wants them."""

from django.db.models import TextChoices


class Channel(TextChoices):
    EMAIL = "email", "E-mail"
    WEBHOOK = "webhook", "Webhook"


class DeliveryState(TextChoices):
    WAITING = "waiting", "Waiting"
    DELIVERED = "delivered", "Delivered"
    GIVEN_UP = "given_up", "Given up"
    DROPPED = "dropped", "Not sent"


# Left again only by a person who says "try again".
FINAL = (DeliveryState.DELIVERED, DeliveryState.GIVEN_UP, DeliveryState.DROPPED)


class Timing(TextChoices):
    """When a person is told of a kind."""

    IMMEDIATELY = "immediately", "Immediately"
    DIGEST = "digest", "In the digest"
    OFF = "off", "Off"


class Rhythm(TextChoices):
    """How often a person gets a digest."""

    DAILY = "daily", "Every day"
    WEEKLY = "weekly", "Every Monday"
    OFF = "off", "Never"


class StreamKind(TextChoices):
    """By which way a stream leaves, and in which form."""

    OCSF_WEBHOOK = "ocsf_webhook", "OCSF by webhook"
    OCSF_FILE = "ocsf_file", "OCSF into a file"
    SET_PUSH = "set_push", "Security event tokens by push"


OCSF = (StreamKind.OCSF_WEBHOOK, StreamKind.OCSF_FILE)


class StreamStatus(TextChoices):
    """What a paused stream would have been sent waits for it; a disabled one misses it."""

    ENABLED = "enabled", "Enabled"
    PAUSED = "paused", "Paused"
    DISABLED = "disabled", "Disabled"


class SignalType(TextChoices):
    """The security events that receivers can subscribe to."""

    CREDENTIAL_CHANGE = "credential-change", "Credential change"
    SESSION_REVOKED = "session-revoked", "Session revoked"
    ACCOUNT_DISABLED = "account-disabled", "Account disabled"
    ACCOUNT_ENABLED = "account-enabled", "Account enabled"
    ACCOUNT_PURGED = "account-purged", "Account purged"
