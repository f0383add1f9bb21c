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
