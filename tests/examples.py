"""How many examples a property is tried with: few at every change, many when there is time for them.

`--hypothesis-profile=thorough` is what a night is for. A property that says its own number has it scaled alike, so that
the costly ones stay in proportion.
"""

import os

from hypothesis import HealthCheck, settings

FEWEST = 10
IS_NIGHT = os.environ.get("KEYREEVE_NIGHT") == "1"  # there is time for what takes the better part of an hour

# A machine that is busy fails nothing: how long things take is for `make bench`.
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
# For a property whose examples share a fixture that they put back themselves; in place of what the profile suppresses.
SHARED_FIXTURE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
settings.register_profile("quick", _PATIENT, max_examples=40)
settings.register_profile("thorough", _PATIENT, max_examples=400)
# For one property at a time: KEYREEVE_NIGHT=1 pytest --hypothesis-profile=nightly tests/lifecycle/test_crash_points.py
settings.register_profile("nightly", _PATIENT, max_examples=10_000)
settings.load_profile("quick")  # what is asked for on the command line is loaded after this


def examples(many: int) -> int:
    """`many` of a profile that tries everything a hundred times, and in proportion of any other."""
    return max(FEWEST, many * settings.default.max_examples // 100)
