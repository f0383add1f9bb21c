"""The embedded PostgreSQL, for real: started, stopped, killed and adopted."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

from config.embedded import EmbeddedPostgres, check_server
from config.errors import CannotStart
from config.home import is_root
from config.queues import install_queues
from tests.embedded import FAST, end, short_folder


@pytest.fixture(scope="module")
def prepared():
    """One prepared data folder for the module; each test finds its server stopped."""
    postgres = EmbeddedPostgres(short_folder() / "pg", extra=FAST)
    postgres.start()
    yield postgres
    end(postgres)


@pytest.fixture
def postgres(prepared):
    prepared.stop()
    yield prepared
    prepared.stop()


def pid_of(postgres: EmbeddedPostgres) -> int:
    return int((postgres.folder / "postmaster.pid").read_text().partition("\n")[0])


def test_it_starts_answers_and_stops(postgres):
    assert postgres.start() is False
    with psycopg.connect(postgres.conninfo()) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    process = psutil.Process(pid_of(postgres))
    postgres.stop()
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    assert postgres.is_running() is False


def test_one_left_running_is_adopted(postgres):
    postgres.start()
    pid = pid_of(postgres)
    assert EmbeddedPostgres(postgres.folder, extra=FAST).start() is True
    assert pid_of(postgres) == pid


def test_one_that_was_killed_is_started_again_with_what_it_had_committed(postgres):
    postgres.start()
    with psycopg.connect(postgres.conninfo(), autocommit=True) as connection:
        connection.execute("SET synchronous_commit = on")
        connection.execute("CREATE TABLE kept AS SELECT 1")
    family = psutil.Process(pid_of(postgres)).children()
    os.kill(pid_of(postgres), signal.SIGKILL)
    psutil.wait_procs(family, timeout=10)
    assert postgres.start() is False
    with psycopg.connect(postgres.conninfo()) as connection:
        assert connection.execute("SELECT * FROM kept").fetchone() == (1,)


def test_a_pid_file_that_names_another_program_is_put_aside(postgres):
    postgres.start()
    content = (postgres.folder / "postmaster.pid").read_text()
    postgres.stop()
    (postgres.folder / "postmaster.pid").write_text(content.replace(content.split("\n")[0], str(os.getpid()), 1))
    assert postgres.start() is False


def test_a_first_start_that_was_cut_off_begins_anew(home):
    (home / "pg").mkdir()
    (home / "pg" / "PG_VERSION").write_text("18\n")
    (home / "pg.unfinished").touch()
    postgres = EmbeddedPostgres(home / "pg", extra=FAST)
    if is_root():
        shutil.chown(home / "pg" / "PG_VERSION", "pgserver")
    try:
        assert postgres.start() is False
        assert not (home / "pg.unfinished").exists()
    finally:
        postgres.stop()


def test_a_path_too_long_for_the_socket_is_refused_and_nothing_is_made(home):
    folder = home / ("deep" * 25) / "pg"
    folder.parent.mkdir()
    with pytest.raises(CannotStart, match=r"too long: .* Set KEYREEVE_HOME"):
        EmbeddedPostgres(folder).start()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("version", "advice"), [("19", "Start the newer Keyreeve"), ("16", "Restore a backup"), ("x", "Restore")]
)
def test_a_folder_of_another_postgresql_is_refused(home, version, advice):
    (home / "pg").mkdir()
    (home / "pg" / "PG_VERSION").write_text(version)
    with pytest.raises(CannotStart, match=advice):
        EmbeddedPostgres(home / "pg").start()


@pytest.mark.skipif(not is_root(), reason="needs root to give a folder away")
def test_a_folder_of_another_user_is_refused_and_the_user_named(home):
    (home / "pg").mkdir()
    (home / "pg" / "PG_VERSION").write_text("18")
    shutil.chown(home / "pg" / "PG_VERSION", "nobody")
    with pytest.raises(CannotStart, match="Start Keyreeve as nobody"):
        EmbeddedPostgres(home / "pg").start()


@pytest.mark.skipif(not is_root(), reason="needs root to become somebody else")
def test_another_user_of_the_machine_is_not_let_in(postgres):
    postgres.start()
    postgres.folder.chmod(0o755)  # even where the folder itself would let them pass
    try:
        nobody = pwd.getpwnam("nobody")
        done = subprocess.run(
            [postgres.bin / "psql", postgres.conninfo(), "-c", "SELECT 1"],
            user=nobody.pw_uid,
            group=nobody.pw_gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        postgres.folder.chmod(0o700)
    assert done.returncode != 0
    assert "Peer authentication failed" in done.stderr


@pytest.mark.skipif(not is_root(), reason="only root's server runs as another user")
def test_folders_above_are_not_opened_for_reading(home):
    private = home / "private"
    private.mkdir(mode=0o700)
    postgres = EmbeddedPostgres(private / "pg", extra=FAST)
    try:
        postgres.start()
        assert private.stat().st_mode & 0o777 == 0o711
    finally:
        postgres.stop()


def test_a_locale_that_is_not_installed_does_no_harm(home, monkeypatch):
    monkeypatch.setenv("LC_ALL", "tlh_QO.UTF-8")
    postgres = EmbeddedPostgres(home / "pg", extra=FAST)
    try:
        postgres.start()
        assert os.environ["LC_ALL"] == "tlh_QO.UTF-8"
    finally:
        postgres.stop()


def test_values_do_not_reach_the_log(postgres):
    postgres.start()
    canary = secrets.token_hex(16)
    with psycopg.connect(postgres.conninfo(), autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE one (value text PRIMARY KEY)")
        for _ in range(2):
            try:
                connection.execute(f"INSERT INTO one VALUES ('{canary}')")
            except psycopg.errors.UniqueViolation:
                break
    postgres.stop()
    logs = [*(postgres.folder / "log").iterdir(), postgres.folder / "start.log"]
    assert any("one_pkey" in log.read_text() for log in logs)
    assert not any(canary in log.read_text() for log in logs)


def test_the_queues_schema_is_installed_once_by_whoever_comes_first(postgres):
    postgres.start()
    code = f"from config.queues import install_queues; install_queues({postgres.conninfo()!r})"
    folder = Path(__file__).parents[2]
    racers = [subprocess.Popen([sys.executable, "-c", code], cwd=folder) for _ in range(2)]
    assert [racer.wait() for racer in racers] == [0, 0]
    install_queues(postgres.conninfo())
    with psycopg.connect(postgres.conninfo()) as connection:
        assert connection.execute("SELECT to_regtype('pgmq.message_record') IS NOT NULL").fetchone() == (True,)


def test_a_server_of_ones_own_that_does_not_answer_is_said_so_without_its_password(home):
    with pytest.raises(CannotStart, match="DATABASE_URL") as refused:
        check_server(f"postgresql://reeve:plainly-fake@/keyreeve?host={home}")
    assert "plainly-fake" not in str(refused.value)
