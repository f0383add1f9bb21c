"""What a change would do, tried before it is saved: on the estate as it stands and on its recorded past. No writes."""

from lifecycle.trials.back_test import BackTest, back_test

__all__ = ["BackTest", "back_test"]
