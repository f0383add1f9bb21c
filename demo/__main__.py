"""Keyreeve over a demo estate: everything that a mid-sized company has, on this machine, to be acted on for real.

    python -m demo

starts an authorization server with dynamic registration, eight MCP servers of different posture, AWS with a few hundred
keys, a PostgreSQL with roles, a receiver of webhooks, the configuration files of ten clients, and Keyreeve over all of
it, with ten weeks behind it (`demo.weeks`).

    python -m demo sync --all

and any other command of manage.py runs over the same estate, while it runs.
"""

import os
import sys

from config.home import ensure_home
from config.settings import BASE_DIR, KEYREEVE_HOME
from demo.places import HEADS_KEY, default_home, places


def main() -> None:
    home = default_home(KEYREEVE_HOME)
    ensure_home(home)
    estate = places(home)
    given = sys.argv[1:]
    is_command = bool(given) and not given[0].startswith("-")
    if not is_command:
        estate.begin_heads()
    folders = (estate.secrets, estate.authorization_server / "secrets")
    # A process of its own, because settings are read once, from the environment.
    os.environ.update(
        DJANGO_SETTINGS_MODULE="config.settings",
        KEYREEVE_HOME=str(home),
        KEYREEVE_MACHINE_HOME=str(estate.machine),
        KEYREEVE_ESTATE_NAME=os.environ.get("KEYREEVE_ESTATE_NAME", "Halden Freight (demo)"),
        KEYREEVE_ALLOW_LOOPBACK="1",
        KEYREEVE_OWN_DOMAINS="halden.example",
        KEYREEVE_REFERENCE_FOLDERS=",".join(str(folder) for folder in folders),
        KEYREEVE_CHAIN_HEADS_S3=estate.heads,
        KEYREEVE_CHAIN_HEADS_S3_KEY_FILE=str(estate.secret(HEADS_KEY)),
        KEYREEVE_DELIVERY_FOLDERS=f"{estate.machine},{estate.secrets}",
        # There is no mail here, so owners find what they are asked on their pages alone. And the end of what is revoked
        # can be waited for.
        KEYREEVE_OWNERSHIP_IS_ASKED="1",
        KEYREEVE_REVOCATION_SETTLES_FOR="2m",
    )
    runs = [str(BASE_DIR / "manage.py")] if is_command else ["-m", "demo.running"]
    os.execv(sys.executable, [sys.executable, *runs, *given])  # nosec B606  # noqa: S606  no shell is what is wanted


if __name__ == "__main__":
    main()
