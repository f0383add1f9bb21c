"""Errors of the audit chain. Each message is safe to show and says what to do."""


class AuditError(Exception):
    """Base of every error of this app."""


class HeadUnreadable(AuditError):
    """An exported document is not what a chain head or a chain key looks like."""


class ChainKeyMissing(AuditError):
    """The key that signs chain heads is not where it should be."""


class ChainKeyUnknown(AuditError):
    """The key that is here is not the one that signs chain heads."""


class PlaceInvalid(AuditError):
    """The address of a place for chain heads cannot be used."""


class PlaceRefuses(AuditError):
    """A place did not take or give a document."""


class NotExported(AuditError):
    """Chain heads are signed and not exported; it is tried again."""


class ChainBroken(AuditError):
    """The audit chain does not hold, or does not follow from what was signed."""
