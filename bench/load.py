"""Load: fifty auditors at once over real HTTP, who page, filter and ask again without a pause, for as long as is said.

Twice: alone, and while the whole estate is evaluated again and again and a hundred rotations run. Nothing may fail, and
the memory of the web server may not grow with what was asked. Times are those that the auditors see, so with fifty of
them and no pause between two requests they are mostly the time spent in the queue.

    manage.py bench load --size 1000000 --seconds 300
"""

import http.client
import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from html import unescape
from pathlib import Path
from random import Random
from urllib.parse import quote, urlencode

import psutil
from django.conf import settings
from django.db import connection, connections
from django.utils import timezone

from access.actors import Actor
from access.roles import Role
from bench.lists import EMPTY_UNLESS_SAID, browser, fill, requests
from bench.measure import Row, percentile
from bench.operations import asked_for
from bench.scratch import scratch_database
from config.actions import issue_token
from config.management.commands.up import web_command
from config.statics import ensure_collected
from lifecycle.actions.evaluation import evaluate
from lifecycle.engine.runner import advance
from lifecycle.models import Operation
from lifecycle.states import OperationState

AUDITORS, BROWSERS = 50, 12  # of all, so many look at pages; the others are programs
OPERATIONS = 100
MOST_PAGES = 6
ASKED_AGAIN = 0.2
HOST = "127.0.0.1"
GROWTH = 1.1  # of the server's memory, from the second fifth of the time to the last
NEXT_PAGE = re.compile(r'<a class="btn" href="([^"]+)"[^>]*id="page-later"')
ACTOR = Actor.system("benchmark")


@dataclass
class Told:
    """What all auditors and the watch over memory have seen."""

    times: list[float] = field(default_factory=list)  # milliseconds
    statuses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)  # MiB, once a second
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, status: str, milliseconds: float, fault: str = "") -> None:
        with self.lock:
            self.statuses[status] += 1
            self.times.append(milliseconds)
            if fault:
                self.faults.append(fault)

    def memory_in(self, fifth: int) -> float:
        part = self.memory[len(self.memory) * fifth // 5 : len(self.memory) * (fifth + 1) // 5] or self.memory[-1:]
        return percentile(part, 0.5)


def run(size: int = 10_000, seconds: int = 30) -> list[Row]:
    ensure_collected()
    if settings.FINGERPRINT_KEY is None:
        settings.FINGERPRINT_KEY = b"only for this benchmark"
    with scratch_database():
        with connection.cursor() as cursor:
            cursor.execute(EMPTY_UNLESS_SAID)
        fill(0, size)
        with web_server() as (port, process):
            alone = watched(port, process, seconds)
            keys = asked_for(OPERATIONS)
            busy = [Evaluating(seconds), Operating(keys, seconds)]
            connections.close_all()
            context = multiprocessing.get_context("fork")
            children = [context.Process(target=work) for work in busy]
            for child in children:
                child.start()
            beside = watched(port, process, seconds)
            children[0].terminate()  # evaluations only have to be under way
            for child in children:
                child.join()
        with connection.cursor() as cursor:  # what an evaluation was at the database's end of
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        ended = Operation.objects.filter(pk__in=keys, state=OperationState.COMPLETED).count()
        failed = [child.exitcode for child in children if child.exitcode not in {0, -signal.SIGTERM}]
    under_way = f"evaluations and {ended} of {OPERATIONS} rotations beside it"
    return [
        *_rows("50 auditors", alone, size, seconds),
        *_rows(f"50 auditors, {under_way}", beside, size, seconds, is_ok=ended == OPERATIONS and not failed),
    ]


def _rows(name: str, told: Told, size: int, seconds: int, *, is_ok: bool = True) -> Iterator[Row]:
    middle, worst = percentile(told.times, 0.5), max(told.times)
    faults = f": {'; '.join(told.faults[:3])}" if told.faults else ""
    yield Row(
        name=f"{name}, p95",
        size=size,
        value=round(percentile(told.times, 0.95), 1),
        unit="ms",
        limit=None,
        ratio=None,
        budget=f"no error in {len(told.times)} requests ({len(told.times) / seconds:.0f}/s, median {middle:.0f} ms, "
        f"worst {worst:.0f} ms, {dict(told.statuses)}){faults}",
        ok=is_ok and not told.faults,
    )
    early, late = told.memory_in(1), told.memory_in(4)
    yield Row(
        name=f"{name}, memory of the web server",
        size=size,
        value=round(late, 1),
        unit="MiB",
        limit=round(early, 1),
        ratio=round(late / early, 2),
        budget=f"≤ {GROWTH} × the same earlier; most {max(told.memory):.0f} MiB",
        ok=late <= GROWTH * early,
    )


# ── The server, and those who ask it ───────────────────────────────────────────────────────────


@contextmanager
def web_server() -> Iterator[tuple[int, psutil.Process]]:
    """The web part as `manage.py up` starts it, over the benchmark's database."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    to = connection.settings_dict
    options = urlencode({"host": to["HOST"]}) if str(to["HOST"]).startswith("/") else ""
    where = "" if options else f"{to['HOST']}:{to['PORT'] or 5432}"
    who = quote(str(to["USER"])) + (f":{quote(str(to['PASSWORD']))}" if to["PASSWORD"] else "")
    environment = {
        **os.environ,
        "DATABASE_URL": f"postgresql://{who}@{where}/{to['NAME']}?{options}",
        "KEYREEVE_SECRET_KEY": settings.SECRET_KEY,
        "KEYREEVE_FINGERPRINT_KEY": settings.FINGERPRINT_KEY.decode(),
        "KEYREEVE_BIND": HOST,
    }
    with tempfile.NamedTemporaryFile(prefix="keyreeve-load-", suffix=".log") as log:
        server = subprocess.Popen(
            web_command(port), cwd=settings.BASE_DIR, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        try:
            _wait_for(port, server, Path(log.name))
            yield port, psutil.Process(server.pid)
        finally:
            server.terminate()
            server.wait(timeout=30)
            sys.stderr.write(Path(log.name).read_text()[-2_000:])


def _wait_for(port: int, server: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and server.poll() is None:
        client = http.client.HTTPConnection(HOST, port, timeout=5)
        try:
            client.request("GET", "/healthz")
            if client.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.2)
        finally:
            client.close()
    raise AssertionError(f"The web server does not answer: {log.read_text()[-2_000:]}")


def watched(port: int, process: psutil.Process, seconds: int) -> Told:
    """All auditors at work until the time is over."""
    told, until = Told(), time.monotonic() + seconds
    auditors = list(_auditors(port, told, until))
    for auditor in auditors:
        auditor.start()
    while time.monotonic() < until:
        told.memory.append(sum(each.memory_info().rss for each in [process, *process.children(recursive=True)]) / 2**20)
        time.sleep(1)
    for auditor in auditors:
        auditor.join()
    return told


def _auditors(port: int, told: Told, until: float) -> Iterator[threading.Thread]:
    asked = [each for each in requests() if each.question.role is Role.AUDITOR]
    for number in range(AUDITORS):
        if number < BROWSERS:
            session = browser(Role.AUDITOR).cookies[settings.SESSION_COOKIE_NAME].value
            headers = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={session}"}
            urls = [each.url for each in asked if each.question.is_page]
        else:
            token = issue_token(f"auditor {number}", Role.AUDITOR, life=timedelta(days=1), actor=ACTOR)
            headers = {"Authorization": f"Token {token}"}
            urls = [each.url for each in asked if not each.question.is_page]
        yield threading.Thread(
            target=_ask, args=(port, urls, told, until), kwargs={"headers": headers, "rng": Random(number)}
        )


def _ask(port: int, urls: Sequence[str], told: Told, until: float, *, headers: dict[str, str], rng: Random) -> None:
    """One list after the other, some pages deep, some of them asked for again."""
    client = http.client.HTTPConnection(HOST, port, timeout=120)
    while time.monotonic() < until:
        url: str | None = rng.choice(urls)
        for _ in range(rng.randint(1, MOST_PAGES)):
            if url is None or time.monotonic() >= until:
                break
            begun = time.perf_counter()
            try:
                client.request("GET", quote(url, safe="/?=&%:+~"), headers=headers)
                answer = client.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException) as exc:
                told.add("none", (time.perf_counter() - begun) * 1_000, f"{url}: {exc!r}")
                client.close()
                break
            took = (time.perf_counter() - begun) * 1_000
            is_fine = answer.status == 200 or (answer.status == 304 and "If-None-Match" in headers)
            told.add(str(answer.status), took, "" if is_fine else f"{url}: {answer.status} {content[:200]!r}")
            headers = {name: value for name, value in headers.items() if name != "If-None-Match"}
            if answer.status != 200:
                break
            if rng.random() < ASKED_AGAIN and (etag := answer.headers["ETag"]):
                headers["If-None-Match"] = etag
                continue
            url = _following(content.decode(), answer.headers["Content-Type"])
        headers.pop("If-None-Match", None)
    client.close()


def _following(text: str, media_type: str) -> str | None:
    if media_type.startswith("application/json"):
        following: str | None = json.loads(text)["next"]
        return following and f"/api/{following.partition('/api/')[2]}"
    found = NEXT_PAGE.search(text)
    return unescape(found[1]) if found else None


# ── What else goes on ──────────────────────────────────────────────────────────────────────────


@dataclass
class Evaluating:
    seconds: int

    def __call__(self) -> None:
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            evaluate(timezone.now(), actor=ACTOR, full=True)


@dataclass
class Operating:
    keys: Sequence[object]
    seconds: int

    def __call__(self) -> None:
        """Spread over three quarters of the time."""
        for key in self.keys:
            begun = time.monotonic()
            advance(key, clock=timezone.now)
            time.sleep(max(0.0, self.seconds * 0.75 / len(self.keys) - (time.monotonic() - begun)))
