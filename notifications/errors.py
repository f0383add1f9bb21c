"""What can go wrong with notices; each message is safe to show."""

from datetime import timedelta


class NotificationError(Exception):
    """Base of what this app raises."""


class NameTaken(NotificationError):
    def __init__(self, name: str) -> None:
        super().__init__(f"Another endpoint is called {name}.")


class LeaseLost(NotificationError):
    """Another worker has this delivery now."""


class Undelivered(NotificationError):
    """A try that did not reach its receiver, with the reason in a sentence.

    `is_final` where no later try can do better. `ends_endpoint` where the receiver asked to be sent nothing more.
    """

    def __init__(
        self, message: str, *, retry_after: timedelta | None = None, is_final: bool = False, ends_endpoint: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.is_final = is_final
        self.ends_endpoint = ends_endpoint


class MailServerAway(Undelivered):
    """The mail server itself could not be reached, so nothing else can leave either."""


class NoLongerWanted(NotificationError):
    """There is nobody left to tell; the reason in a sentence."""


class StreamNameTaken(NotificationError):
    def __init__(self, name: str) -> None:
        super().__init__(f"Another stream has this name or writes this file: {name}.")


class SignalKeyMissing(NotificationError):
    """The private key that signs tokens is not on this host."""


class TokenRefused(NotificationError):
    """The receiver will never take this token, whenever it is sent; the reason in a sentence."""
