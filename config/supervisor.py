"""Runs the parts of Keyreeve side by side: restarts what dies, and on the way out ends everything it started.

Each part leads a process group of its own, so that Ctrl-C reaches the supervisor alone and a part's own children can
be ended with it. The environment carries a mark by which a later start finds what a killed supervisor left behind.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import psutil  # type: ignore[import-untyped]

MARK = "KEYREEVE_SUPERVISED"
LONGEST_PAUSE = 30.0  # seconds between two tries
LEFTOVER_GRACE = 5.0  # seconds that what a killed supervisor left behind gets to end
SETTLED = 60.0  # seconds after which a part that ran counts as sound
# What no part needs to know: who owns the tables.
KEPT_BACK = ("KEYREEVE_MIGRATION_DATABASE_URL", "KEYREEVE_MIGRATION_DATABASE_URL_FILE")
LARGEST_LOG = 2**20  # bytes; a larger one is put aside at the next start


class StopRequest:
    """What Ctrl-C, a termination and a closed terminal do: the first one ends the run, a later one hurries its end."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.ending = False
        self.in_a_hurry = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.ending:
            self.in_a_hurry = True
            return
        self.ending = True
        raise KeyboardInterrupt

    @contextmanager
    def heard(self) -> Iterator[None]:
        before = {number: signal.signal(number, self) for number in self.SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@dataclass
class Part:
    """One long-running command. `grace` is how long it may take to end when asked to, in seconds."""

    name: str
    command: Sequence[str]
    grace: float = 10
    process: subprocess.Popen[bytes] | None = None
    started: float = 0
    failures: int = 0
    due: float = 0


def end_group(leader: int) -> None:
    """Kill what is left of a process group, if anything is."""
    with suppress(ProcessLookupError, PermissionError):  # macOS says "not permitted" of a group of zombies
        os.killpg(leader, signal.SIGKILL)


def end_leftovers(home: Path) -> int:
    """End the parts of a supervisor that was killed; gives how many processes there were. Needs the folder's lock."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == str(home):
                found.append(process)
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(found, timeout=LEFTOVER_GRACE)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=5)
    return len(found)


class Supervisor:
    """Holds the parts of one Keyreeve. Used from one thread; `tend` is to be called about twice a second."""

    def __init__(
        self, home: Path, folder: Path, parts: Sequence[Part], *, say: Callable[[str], None], stop: StopRequest
    ) -> None:
        self.folder = folder
        self.parts = parts
        self.logs = home / "log"
        self.say = say
        self.stop_request = stop
        given = {name: value for name, value in os.environ.items() if name not in KEPT_BACK}
        self.environment = {**given, MARK: str(home), "KEYREEVE_HOME": str(home), "PYTHONUNBUFFERED": "1"}

    def start(self) -> None:
        self.logs.mkdir(mode=0o700, exist_ok=True)
        for part in self.parts:
            log = self.log_of(part)
            if log.exists() and log.stat().st_size > LARGEST_LOG:
                log.replace(log.with_suffix(".1.log"))
            self._launch(part)

    def log_of(self, part: Part) -> Path:
        return self.logs / f"{part.name.replace(' ', '-')}.log"

    def _launch(self, part: Part) -> None:
        with self.log_of(part).open("ab") as log:
            part.process = subprocess.Popen(
                part.command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        part.started = time.monotonic()

    def tend(self) -> None:
        """Start again what has died, after a pause that grows while it keeps dying."""
        now = time.monotonic()
        for part in self.parts:
            if part.process is None:
                if now >= part.due:
                    self._launch(part)
            elif (code := part.process.poll()) is not None:
                end_group(part.process.pid)
                part.process = None
                part.failures = 1 if now - part.started > SETTLED else part.failures + 1
                pause = min(2.0 ** (part.failures - 1), LONGEST_PAUSE)
                part.due = now + pause
                how = f"signal {-code}" if code < 0 else f"exit code {code}"
                self.say(f"{part.name} ended ({how}); starting it again in {pause:.0f} s. See {self.log_of(part)}.")

    def stop(self) -> None:
        """Ask every part to end, wait as long as each may take, then end by force what is left."""
        asked = time.monotonic()
        running = [(part, part.process) for part in self.parts if part.process is not None]
        for _, process in running:
            process.send_signal(signal.SIGTERM)
        while running:
            waited = time.monotonic() - asked
            for part, process in list(running):
                if process.poll() is not None or self.stop_request.in_a_hurry or waited > part.grace:
                    end_group(process.pid)
                    process.wait()
                    part.process = None
                    running.remove((part, process))
            time.sleep(0.05)
