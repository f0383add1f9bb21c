"""Who is told, the endpoints that are, what they are told, and what became of that."""

from notifications.models.endpoints import Endpoint
from notifications.models.outbox import Delivery, Notice
from notifications.models.recipients import Recipient
from notifications.models.streams import EventStream, SignalKey

__all__ = ["Delivery", "Endpoint", "EventStream", "Notice", "Recipient", "SignalKey"]
