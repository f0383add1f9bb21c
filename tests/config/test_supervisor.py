"""The supervisor over small commands."""

import os
import signal
import sys
import time
from collections.abc import Callable

import psutil
import pytest

from config import supervisor
from config.supervisor import MARK, Part, StopRequest, Supervisor, end_leftovers

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
# Ignores the request to end, as does the child it starts in its own process group.
STUBBORN = [
    sys.executable,
    "-c",
    """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
time.sleep(600)
""",
]


def until(happened: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def marked(home) -> list[psutil.Process]:
    """Every process that a supervisor of this folder started and that still runs."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def supervise(home, monkeypatch):
    """Starts a supervisor over the given parts; what it says is in `.said`. Everything is ended afterwards."""
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE", 0.1)
    started = []

    def start(*parts: Part) -> Supervisor:
        said: list[str] = []
        one = Supervisor(home, home, parts, say=said.append, stop=StopRequest())
        one.said = said
        started.append(one)
        one.start()
        return one

    yield start
    for one in started:
        one.stop_request.in_a_hurry = True
        one.stop()
    end_leftovers(home)


def test_a_part_that_dies_is_started_again_and_said_so(supervise):
    part = Part("web", SLEEP)
    one = supervise(part)
    first = part.process.pid
    os.kill(first, signal.SIGKILL)
    until(lambda: one.tend() or (part.process and part.process.pid != first))
    assert "web ended (signal 9)" in one.said[0]


def test_the_pause_grows_while_a_part_keeps_dying(supervise, monkeypatch):
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE", 30)
    part = Part("web", [sys.executable, "-c", "raise SystemExit(3)"])
    one = supervise(part)
    until(lambda: one.tend() or part.failures == 1)
    part.due = 0
    until(lambda: one.tend() or part.failures == 2)
    assert "(exit code 3); starting it again in 1 s" in one.said[0]
    assert "starting it again in 2 s" in one.said[1]


def test_what_a_part_prints_is_in_its_log(supervise):
    part = Part("worker sync", [sys.executable, "-c", "print('seen'); import time; time.sleep(600)"])
    one = supervise(part)
    until(lambda: "seen" in one.log_of(part).read_text())


def test_a_part_and_its_children_that_do_not_end_are_killed_after_their_grace(supervise, home):
    part = Part("worker", STUBBORN, grace=0.3)
    one = supervise(part)
    until(lambda: len(marked(home)) == 2)
    began = time.monotonic()
    one.stop()
    assert time.monotonic() - began >= 0.3
    until(lambda: not marked(home))


def test_a_hurried_end_does_not_wait(supervise, home):
    part = Part("worker", STUBBORN, grace=600)
    one = supervise(part)
    until(lambda: len(marked(home)) == 2)
    one.stop_request.in_a_hurry = True
    one.stop()
    until(lambda: not marked(home))


def test_a_later_start_ends_what_a_killed_supervisor_left(supervise, home, monkeypatch):
    monkeypatch.setattr(supervisor, "LEFTOVER_GRACE", 0.3)
    supervise(Part("web", SLEEP), Part("worker", STUBBORN))
    until(lambda: len(marked(home)) == 3)
    assert end_leftovers(home) == 3
    assert not marked(home)


def test_the_first_signal_ends_the_run_and_the_second_hurries():
    request = StopRequest()
    with request.heard():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert request.in_a_hurry


def test_no_part_is_told_who_owns_the_tables(supervise, home, monkeypatch):
    for name in ("KEYREEVE_MIGRATION_DATABASE_URL", "KEYREEVE_MIGRATION_DATABASE_URL_FILE", "KEYREEVE_OTHER"):
        monkeypatch.setenv(name, "given")
    one = supervise(Part("sleeper", SLEEP))
    part = psutil.Process(one.parts[0].process.pid)
    until(lambda: "KEYREEVE_OTHER" in part.environ())
    assert [name for name in part.environ() if name.startswith("KEYREEVE_MIGRATION")] == []
