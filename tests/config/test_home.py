"""The folder that belongs to one Keyreeve."""

import stat

import pytest

from config.errors import CannotStart
from config.home import ensure_home, ensure_secret_key, is_root, sole_use


def test_a_missing_folder_is_made_and_nobody_else_may_list_it(home):
    folder = home / "a" / "b"
    ensure_home(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == (0o711 if is_root() else 0o700)


def test_the_mode_of_a_folder_that_was_there_is_left_alone(home):
    home.chmod(0o750)
    ensure_home(home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o750


def test_a_folder_that_cannot_be_written_to_is_said_so(home):
    (home / "file").write_text("")
    with pytest.raises(CannotStart, match=r"cannot be written to .* Set KEYREEVE_HOME"):
        ensure_home(home / "file" / "below")


def test_a_full_disk_is_said_so(home):
    with pytest.raises(CannotStart, match=r"MB are free .* Make room"):
        ensure_home(home, least_free=2**60)


def test_the_secret_key_is_made_once_and_readable_by_us_alone(home):
    first = ensure_secret_key(home)
    assert ensure_secret_key(home) == first
    assert len(first) >= 50
    assert stat.S_IMODE((home / "secret.key").stat().st_mode) == 0o600


def test_a_key_whose_writing_was_cut_off_is_made_anew(home):
    (home / "secret.key.new").write_text("ha")
    assert len(ensure_secret_key(home)) >= 50
    assert not (home / "secret.key.new").exists()


def test_a_folder_in_use_is_refused_and_its_process_named(home):
    with sole_use(home), pytest.raises(CannotStart, match=r"already running .*process \d+"), sole_use(home):
        pass


def test_a_run_that_ended_properly_leaves_no_trace(home):
    with pytest.raises(RuntimeError), sole_use(home):
        raise RuntimeError
    with sole_use(home) as crashed:
        assert not crashed


def test_a_run_that_was_killed_is_noticed(home):
    (home / "up.lock").write_text("4242")
    with sole_use(home) as crashed:
        assert crashed
