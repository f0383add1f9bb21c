"""What a password must be beyond long: not made of few characters, and not of what everybody here would try first."""

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError

LONGEST = 256
DISTINCT = 6
LEFT = 8


class GuessableValidator:
    """Refuses what is long without being hard to guess. Length, likeness to the person and common ones are Django's."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = sorted({word.lower().replace(" ", "") for word in words if len(word) >= 4}, key=len, reverse=True)

    def validate(self, password: str, user: Any = None) -> None:
        if len(password) > LONGEST:
            raise ValidationError(f"It is longer than {LONGEST} characters.", code="password_too_long")
        if len(set(password)) < DISTINCT:
            raise ValidationError(f"It has fewer than {DISTINCT} different characters.", code="password_repeats")
        left = password.lower().replace(" ", "")
        for word in self.words:
            left = left.replace(word, "")
        if len(left) < LEFT:
            raise ValidationError("Little is left of it without the name of this place.", code="password_names_place")

    def get_help_text(self) -> str:
        return f"At least {DISTINCT} different characters, and more than the name of this place."
