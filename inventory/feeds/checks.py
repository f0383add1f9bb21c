"""How one value of a row is checked. A check gives what is staged, or refuses in a sentence that repeats nothing."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from inventory import tags
from inventory.discovery import formats, values
from inventory.discovery.classify import Judge, Where
from inventory.discovery.listing import UNSEEN
from inventory.discovery.model import Class
from inventory.discovery.vocabulary import word_set
from inventory.fingerprints import SCHEME
from providers.addresses import LONGEST_ISSUER, is_issuer

Check = Callable[[Any], Any]

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
SKEW = timedelta(hours=1)  # how far another system's clock may be ahead
MOST_ENTRIES, LONGEST_ENTRY = 200, 200
MOST_DETAILS, LONGEST_DETAIL, LONGEST_DETAILS = 50, 500, 8_000

# Fields that hold secrets wherever they occur. Whatever stands in one is refused unseen.
SECRET_NAMES = word_set(
    "secret token password passwd pwd passphrase value plaintext bearer authorization apikey api_key secret_key "
    "secretkey access_token refresh_token session_token registration_access_token client_secret private_key privatekey "
    "secret_value token_value credential_value secret_access_key key_material connection_string"
)
NOT_A_SECRET = "This looks like a secret. Send what is known about it, never the secret itself."

_FINGERPRINT = re.compile(rf"{SCHEME}:[0-9a-f]{{32}}")
_REFERENCE = re.compile(r"[a-z][a-z0-9+.-]{0,30}:\S.*", re.DOTALL)
_PARTS = re.compile(r"[\s/:?&=#@,;|]+")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,189}")
_ZONED = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:[Zz]|[+-]\d\d:?\d\d)")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_JUDGE = Judge(b"only asks whether, keeps nothing")


class Refused(Exception):
    """Why a row is not taken. `field` is one of our own names, or empty: nothing that was sent is repeated."""

    def __init__(self, sentence: str, field: str = "") -> None:
        super().__init__(sentence)
        self.field = field


def is_secret_name(name: str) -> bool:
    return name.rpartition(".")[2].strip().lower().replace("-", "_") in SECRET_NAMES


def holds_known_secret(text: str) -> bool:
    """Whether a secret of a known format stands in a text. Identifiers and keys that are public by design are none."""
    return any(
        not found.format.is_identifier and not formats.is_public(text[found.start : found.end])
        for found in formats.find(text)
    )


def text(longest: int) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str):
            if isinstance(value, bool) or not isinstance(value, int):
                raise Refused("This is a text.")
            value = str(value)
        if len(value) > longest:
            raise Refused(f"This has at most {longest} characters.")
        if not value.isprintable() and (UNSEEN.search(value) or any(char in "\t\n\r" for char in value)):
            raise Refused("This holds a control character, or half of one that needs two.")
        stripped: str = value.strip()
        return stripped

    return check


def choice(*allowed: str) -> Check:
    known = frozenset(allowed)

    def check(value: Any) -> str:
        if isinstance(value, str) and value in known:
            return value
        raise Refused(f"This is one of {', '.join(allowed)}.")

    return check


def flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    raise Refused("This is true or false.")


def moment(now: datetime | None) -> Check:
    """An instant with a zone, or a day, which is its first moment in UTC. Not after `now`, when that is given."""
    latest = now + SKEW if now is not None else None

    def check(value: Any) -> datetime:
        if not isinstance(value, str) or not (_ZONED.fullmatch(value) or _DAY.fullmatch(value)):
            raise Refused("This is a day, or a date and time with a zone, as in 2026-06-30T12:00:00Z.")
        try:
            found = datetime.fromisoformat(value.upper())
            found = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
        except (ValueError, OverflowError) as exc:
            raise Refused("There is no such date.") from exc
        if found < EARLIEST:
            raise Refused("This lies before 1970.")
        if latest is not None and found > latest:
            raise Refused("This lies in the future.")
        return found

    return check


def texts(value: Any) -> tuple[str, ...]:
    """A list of texts; in CSV, and where a text is given, its words."""
    entries = value.split() if isinstance(value, str) else value
    if not isinstance(entries, list) or not all(isinstance(each, str) for each in entries):
        raise Refused("This is a list of texts.")
    if len(entries) > MOST_ENTRIES:
        raise Refused(f"This has at most {MOST_ENTRIES} entries.")
    one = text(LONGEST_ENTRY)
    return tuple(one(each) for each in entries)


def labels(value: Any) -> tuple[str, ...]:
    """Tags, each once."""
    found = set(texts(value))
    if not all(map(tags.is_tag, found)):
        raise Refused(tags.RULE)
    if len(found) > tags.MOST:
        raise Refused(f"A credential has at most {tags.MOST} tags.")
    return tuple(sorted(found))


def fingerprint(value: Any) -> str:
    if isinstance(value, str) and _FINGERPRINT.fullmatch(value):
        return value
    raise Refused(f"A fingerprint is one that Keyreeve made: {SCHEME}: and 32 hexadecimal digits.")


def email(value: Any) -> str:
    found: str = text(254)(value)
    if not _EMAIL.fullmatch(found):
        raise Refused("This is an e-mail address.")
    return found


def reference(value: Any) -> str:
    """Where a secret is kept: it begins with a scheme, which a secret does not, and holds no mere noise."""
    found: str = clean(400)(value)
    if not _REFERENCE.fullmatch(found):
        raise Refused("A reference names the place, beginning with its scheme, as in aws-sm://payments/api.")
    if any(len(part) >= 20 and values.is_noise(part) and not values.UUID.match(part) for part in _PARTS.split(found)):
        raise Refused(NOT_A_SECRET)
    return found


def clean(longest: int) -> Check:
    """A text in which secrets are known to travel: an address, a command line. The scanner looks at it closely."""
    one = text(longest)

    def check(value: Any) -> str:
        found: str = one(value)
        if any(draft.class_ is Class.LITERAL and not draft.is_identifier for draft in _judged(found)):
            raise Refused(NOT_A_SECRET)
        return found

    return check


def issuer(value: Any) -> str:
    """An address, as an index takes it."""
    found: str = clean(LONGEST_ISSUER)(value)
    if found and not is_issuer(found):
        raise Refused("An issuer is an address in ASCII.")
    return found


def _judged(found: str) -> list[Any]:
    return list(_JUDGE.value(found, "url" if "://" in found else "argument", "", Where.FIELD))


def details(value: Any) -> str:
    """What else is known, for people: names and plain values. Gives JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as exc:
            raise Refused("This is a JSON object.") from exc
    if not isinstance(value, Mapping) or len(value) > MOST_DETAILS:
        raise Refused(f"This is an object with at most {MOST_DETAILS} members.")
    one = text(LONGEST_DETAIL)
    kept: dict[str, Any] = {}
    for name, each in value.items():
        if is_secret_name(name):
            raise Refused(NOT_A_SECRET)
        if each is not None and not isinstance(each, bool | int | float | str):
            raise Refused("Its members are texts, numbers, true, false or null.")
        kept[one(name)] = one(each) if isinstance(each, str) else each
    try:
        said = json.dumps(kept, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except ValueError as exc:
        raise Refused("A number in it is none that JSON knows.") from exc
    if len(said) > LONGEST_DETAILS:
        raise Refused(f"This has at most {LONGEST_DETAILS} characters.")
    return said
