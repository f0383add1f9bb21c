"""Where the registration tokens of clients lie: at a reference that somebody named, or in a folder of their own.

The token of a registration that an operation makes is seen once, in its answer. It is written before anything else
happens, as a file that only we read, in a folder of secrets that the operator named for it. Nothing there is ever
written over, and the file is named by a digest, because the id of a client is what its server likes it to be.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from django.conf import settings

from inventory.models import McpClient
from inventory.outside import references
from providers.base import Secret
from providers.errors import Permanent, Refused
from providers.oauth_lifecycle import Registration

TOKEN, ADDRESS = "registration_access_token", "registration_client_uri"


class KeptRegistrations:
    """The registration tokens of one issuer's clients. `folder` is for those of further ones; empty for none."""

    def __init__(self, issuer: str, *, folder: str, bound_to: str) -> None:
        self._issuer = issuer
        self._folder = folder
        self._bound_to = bound_to

    def of(self, client_id: str) -> Registration | None:
        known = McpClient.objects.present().filter(
            authorization_server__issuer=self._issuer, client_id=client_id, registration_uri__gt=""
        )
        found = known.exclude(registration_reference="").order_by("pk").first()
        if found is not None:
            return self._registration(found.registration_uri, found.registration_reference)
        if not self._folder or not (Path(self._folder) / self._name(client_id)).is_file():
            return None
        reference = f"file://{quote(str(Path(self._folder) / self._name(client_id)))}"
        uri = references().resolve(f"{reference}#{ADDRESS}", bound_to=self._bound_to, host=self._bound_to).reveal()
        return self._registration(uri, f"{reference}#{TOKEN}")

    def _registration(self, uri: str, reference: str) -> Registration:
        return Registration(
            uri=uri, token=lambda host: references().resolve(reference, bound_to=self._bound_to, host=host)
        )

    def check(self) -> None:
        if not self._folder:
            raise Permanent("Name a folder as registrations, where the token of a further registration is kept.")
        with self._opened() as folder:
            if not os.access(".", os.W_OK, dir_fd=folder):
                raise Permanent(f"{self._folder} cannot be written to, so no registration token can be kept there.")

    def keep(self, client_id: str, uri: str, token: Secret) -> None:
        self.check()
        content = json.dumps({"client_id": client_id, ADDRESS: uri, TOKEN: token.reveal()}).encode()
        with self._opened() as folder:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                descriptor = os.open(self._name(client_id), flags, 0o600, dir_fd=folder)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.fsync(folder)
            except OSError as exc:
                reason = (exc.strerror or "it failed").lower()
                raise Permanent(f"The registration token of a client cannot be kept: {reason}.") from None

    def forget(self, client_id: str) -> None:
        """Its file, that is; a reference that somebody named is theirs."""
        if not self._folder:
            return
        with self._opened() as folder:
            try:
                os.unlink(self._name(client_id), dir_fd=folder)
            except FileNotFoundError:
                return
            except OSError as exc:
                reason = (exc.strerror or "it failed").lower()
                raise Permanent(f"The registration token of a client cannot be removed: {reason}.") from exc

    def _name(self, client_id: str) -> str:
        return f"registration-{sha256(f'{self._issuer} {client_id}'.encode()).hexdigest()[:40]}.json"

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """The folder, once it is known to lie where secrets may be read again, and free of links."""
        real = Path(self._folder).resolve()
        if not any(real.is_relative_to(folder.resolve()) for folder in settings.REFERENCE_FOLDERS):
            raise Refused(f"{self._folder} lies in no folder of KEYREEVE_REFERENCE_FOLDERS.")
        try:
            descriptor = os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as exc:
            raise Permanent(f"{self._folder} cannot be opened: {(exc.strerror or 'it failed').lower()}.") from exc
        try:
            yield descriptor
        finally:
            os.close(descriptor)
