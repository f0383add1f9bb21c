"""What stops a start, a backup or a restore. The message is one sentence or two, safe to show, and says what to do."""


class CannotStart(Exception):
    """Keyreeve cannot start here and now."""


class CannotBackUp(Exception):
    """No backup was made."""


class CannotRestore(Exception):
    """Nothing was restored."""
