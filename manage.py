#!/usr/bin/env python3
"""Keyreeve's command line: `manage.py help` lists the commands."""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036  said before an import that older versions cannot read
    sys.exit("Keyreeve needs Python 3.11 or newer, and this is {}.{}.".format(*sys.version_info))

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import OperationalError, connection

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        execute_from_command_line(sys.argv)
    except OperationalError:
        if connection.connection is not None or "--traceback" in sys.argv:
            raise
        print("The database does not answer. Start Keyreeve first: make up", file=sys.stderr)  # noqa: T201
        sys.exit(3)
    except ImproperlyConfigured as exc:
        if "--traceback" in sys.argv:
            raise
        print(f"Keyreeve is not configured right: {exc}", file=sys.stderr)  # noqa: T201
        sys.exit(3)
