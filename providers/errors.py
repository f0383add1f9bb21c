"""What can go wrong outside, in sentences that are safe to show: no secret, no body of an answer."""

from datetime import timedelta


class ProviderError(Exception):
    """Base of everything that a provider, a probe or a reference can raise."""


class Transient(ProviderError):
    """It may work later: a time-out, a refused connection, an answer of 429 or 5xx."""

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Permanent(ProviderError):
    """It will not work until somebody changes something: a malformed answer, an unknown account, a wrong address."""


class Denied(Permanent):
    """The other side refuses the identity it was shown, or that identity lacks a right."""


class Refused(Permanent):
    """We refuse: the address is not one that Keyreeve may reach, or the reference not one it may read."""


class NoRoom(Permanent):
    """The place holds as many versions of a credential as it may; one must go before another is issued."""
