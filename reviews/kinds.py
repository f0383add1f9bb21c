"""The kinds of notices that access reviews give rise to."""

from notifications.kinds import Kind
from notifications.states import Timing

TO_DO = Kind(
    slug="reviews.to_do",
    name="Access reviews",
    help="What is yours to review, when it begins, before it is due, and each day after that.",
    template="reviews/mail/to_do",
    timings=(Timing.IMMEDIATELY, Timing.OFF),
)
