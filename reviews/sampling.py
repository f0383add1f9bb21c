"""How a sample is drawn, so that anybody draws the same: the members with the smallest digests of seed and id. Pure."""

from hashlib import sha256

METHOD = "sha256(seed + ':' + id) in hexadecimal, the smallest first"


def lot(seed: str, key: object) -> str:
    return sha256(f"{seed}:{key}".encode()).hexdigest()
