from django.apps import AppConfig

from inventory import signals
from notifications.kinds import declare
from reviews import kinds


class ReviewsConfig(AppConfig):
    name = "reviews"

    def ready(self) -> None:
        from reviews.actions import approvals  # noqa: PLC0415  models must be loaded first

        declare(kinds.TO_DO, kinds.OWNERSHIP)
        signals.clients_admitted.connect(approvals.bind_admitted, dispatch_uid="reviews.clients_admitted")
        signals.grants_approved.connect(approvals.bind_granted, dispatch_uid="reviews.grants_approved")
        signals.grant_changed.connect(approvals.follow_change, dispatch_uid="reviews.grant_changed")
