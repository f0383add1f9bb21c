"""What a change would do, tried before it is saved: on the estate as it stands and on its recorded past. No writes."""

from lifecycle.trials.estate import DryRun, dry_run, dry_run_of_retirement, dry_run_of_setting
from lifecycle.trials.past import BackTest, back_test

__all__ = ["BackTest", "DryRun", "back_test", "dry_run", "dry_run_of_retirement", "dry_run_of_setting"]
