"""The kinds of notices that access reviews and questions of ownership give rise to."""

from notifications.kinds import Kind
from notifications.states import Timing

TO_DO = Kind(
    slug="reviews.to_do",
    name="Access reviews",
    help="What is yours to review, when it begins, before it is due, and each day after that.",
    template="reviews/mail/to_do",
    timings=(Timing.IMMEDIATELY, Timing.OFF),
)
OWNERSHIP = Kind(
    slug="ownership.asked",
    name="Ownership",
    help="Whether you answer for what is in your name or of whom you stand in for, and when nobody did.",
    template="reviews/mail/ownership",
    timings=(Timing.IMMEDIATELY, Timing.OFF),
)
