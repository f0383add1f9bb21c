"""The private keys that sign tokens: files that we alone can read. The database knows their public halves."""

import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from notifications.errors import SignalKeyMissing
from notifications.sets import KEY_SIZE, jwk_of


def make(folder: Path) -> dict[str, str]:
    """A new key, on the disk before anybody hears of it; its public half."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_SIZE)
    jwk = jwk_of(key.public_key())
    content = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(_path(folder, jwk["kid"]), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return jwk


def read(folder: Path, kid: str) -> rsa.RSAPrivateKey:
    """Raises SignalKeyMissing, which does not say what the file holds."""
    path = _path(folder, kid)
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey) or jwk_of(key.public_key())["kid"] != kid:
        raise SignalKeyMissing(
            f"{path} is not the key that signs tokens. Give every host the same folder, or begin another key."
        )
    return key


def is_there(folder: Path, kid: str) -> bool:
    return _path(folder, kid).is_file()


def _path(folder: Path, kid: str) -> Path:
    return folder / f"{kid}.pem"
