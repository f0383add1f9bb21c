from django.apps import AppConfig

from notifications.kinds import declare
from reviews import kinds


class ReviewsConfig(AppConfig):
    name = "reviews"

    def ready(self) -> None:
        declare(kinds.TO_DO)
