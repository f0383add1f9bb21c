"""What stops a start. The message is one sentence or two, safe to show, and says what to do."""


class CannotStart(Exception):
    """Keyreeve cannot start here and now."""
