"""What AWS calls its regions: known without its SDK, because the settings of every process are read with it."""

import re

from providers.errors import Permanent

REGION = re.compile(r"[a-z]{2,6}(-[a-z]{2,12}){1,3}-\d{1,2}")


def known_region(name: str) -> str:
    """A region becomes part of a host name, so it may be nothing else."""
    if not REGION.fullmatch(name):
        raise Permanent("A region is named like eu-central-1.")
    return name
