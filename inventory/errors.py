"""What can go wrong in the inventory, in sentences that are safe to show."""


class InventoryError(Exception):
    """Base of the inventory's named errors."""


class OwnerInactive(InventoryError):
    """This owner has left. Choose an active one."""

    def __init__(self, owner: object) -> None:
        super().__init__(f"{owner} has left. Choose an active owner.")


class NameTaken(InventoryError):
    """Another connection has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a connection called “{name}” already.")


class HasHistory(InventoryError):
    """A connection that listed something is part of the record."""

    def __init__(self) -> None:
        super().__init__(
            "This connection has listed something, so it stays as part of the record. Switch it off instead."
        )


class NothingChosen(InventoryError):
    """Nothing that you may change was chosen."""

    def __init__(self) -> None:
        super().__init__(NothingChosen.__doc__)


class LeaseLost(InventoryError):
    """Another worker has taken this sync over."""

    def __init__(self) -> None:
        super().__init__(LeaseLost.__doc__)


class NoFingerprintKey(InventoryError):
    """A sync without a lasting key would take every secret for a new one."""

    def __init__(self) -> None:
        super().__init__(
            "There is no fingerprint key here, so no secret would be recognised again. Start Keyreeve once with this "
            "KEYREEVE_HOME, or give every worker the same KEYREEVE_FINGERPRINT_KEY."
        )
