"""What a value says about itself, whatever field it stands in: reference, placeholder, plain setting or noise."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import NamedTuple

from inventory.discovery.vocabulary import word_set

# --- references ------------------------------------------------------------------------------------------------------

_URI_REFERENCE = re.compile(
    r"(?:op|vault|bws|keyvault|akv|aws-sm|aws-ssm|ssm|secretsmanager|gcp-sm|gcpsm|sm|doppler|infisical|keychain|keyring|"
    r"secret|secretref|sops|pass|lpass|gopass|bw|dashlane|keeper|berglas|ref\+[a-z]+|docker-secret|file|env|1password|"
    r"akeyless|conjur|delinea|hcp|passbolt|credstash)(?::/{0,2}|\+)\S+\Z",
    re.IGNORECASE,
)
_SECRET_ARN = re.compile(r"arn:aws[a-z-]*:(?:secretsmanager|ssm):\S+\Z")
_AZURE_REFERENCE = re.compile(
    r"@Microsoft\.KeyVault\(.*\)\Z|https://[a-z0-9-]+\.vault\.azure\.net/\S+\Z", re.IGNORECASE
)
_GCP_RESOURCE = re.compile(r"projects/[^/\s]+/secrets/[^/\s]+(?:/versions/[^/\s]+)?\Z")

# Every notation a client, a launcher or a shell replaces before use, in the order they are tried.
_INTERPOLATION = re.compile(
    r"\$\{\{\s*+(?P<workflow>[^{}]{1,200}?)\s*+\}\}"
    r"|\b(?:process\.env|os\.environ|import\.meta\.env|Deno\.env)[./](?P<code>[A-Za-z_][A-Za-z0-9_]{1,80})"
    r"|(?<![\w.])secrets\.(?P<kept>[A-Z_][A-Z0-9_]{1,80})\Z"
    r"|\$\((?P<shell>[^()]{0,500})\)"
    r"|`(?P<ticks>[^`]{1,500})`"
    r"|\$\{cmd:\s*(?P<cmd>[^{}]{0,500})\}"
    r"|\$\{(?P<brace>(?:input|config|command|file|secret|vault|keychain):[^{}]{1,500}|[A-Za-z_/][A-Za-z0-9_./:-]{0,200}?)"
    r"(?P<default>:?[-=?+][^{}]{0,2000}+)?\}"
    r"|\{\{\s*+(?P<mustache>[^{}]{1,200}?)\s*+\}\}"
    r"|\{(?P<typed>env|file|input|secret|vault|keychain):(?P<typedname>[^{}]{1,500})\}"
    r"|(?<![A-Za-z0-9%])%(?P<percent>[A-Za-z_][A-Za-z0-9_]{1,80})%(?![A-Za-z0-9])"
    r"|(?<![A-Za-z0-9$\\])(?:\$env:(?P<shellenv>[A-Za-z_][A-Za-z0-9_]{1,80})|\$(?P<dollar>[A-Z_][A-Z0-9_]{1,80}))(?![A-Za-z0-9_])"
)
_INTERPOLATION_MARKS = ("$", "{", "%", "`", ".env", "secrets.")

# Filled in by the client with something that is no secret.
_SURROUNDINGS = re.compile(
    r"(?:workspaceFolder|workspaceRoot|workspaceFolderBasename|userHome|pathSeparator|/|__dirname|HOME|USER|USERNAME|"
    r"USERPROFILE|APPDATA|LOCALAPPDATA|PATH|PWD|DESKTOP|DOCUMENTS|DOWNLOADS|TMPDIR|TEMP|TMP|SHELL|HOSTNAME|"
    r"CLAUDE_[A-Z_]*|extensionPath|cwd|file|fileDirname|relativeFile|execPath|config|command|PORT|HOST)\Z"
)


class Reference(NamedTuple):
    """Where a value comes from instead of standing here."""

    text: str
    """Canonical: `env:NAME`, `input:id`, `op://vault/item/field`, `file:/path`, `command`."""
    variable: str
    """The name inside, for judging whether a secret is meant; empty where there is none."""
    default: str | None = None
    """What is used when the variable is unset: may itself be a literal secret."""
    is_surroundings: bool = False


def reference_of(value: str) -> Reference | None:
    """The reference when the *whole* value is a secret manager's address; interpolation is `interpolations`' work."""
    if ":" not in value and "/" not in value:
        return None
    if _URI_REFERENCE.match(value):
        named = value.partition(":")[2].lstrip("/")
        if "/" not in named and is_noise(named):
            return None  # a secret behind a word and a colon
        return Reference(_without_userinfo(value)[:300], "")
    if value.startswith("arn:") and _SECRET_ARN.match(value):
        return Reference(value[:300], "")
    if _AZURE_REFERENCE.match(value) or _GCP_RESOURCE.match(value):
        return Reference(value[:300], "")
    return None


def interpolations(value: str) -> tuple[list[Reference], str]:
    """Every interpolation in `value`, and what is left of it without them."""
    if not any(mark in value for mark in _INTERPOLATION_MARKS):
        return [], value
    found = [_as_reference(match) for match in _INTERPOLATION.finditer(value)]
    return found, _INTERPOLATION.sub("", value) if found else value


def _as_reference(match: re.Match[str]) -> Reference:
    kind = match.lastgroup
    # `lastgroup` is the last group that took part; a default or a typed name follows the group that decides.
    if match["shell"] is not None or match["ticks"] is not None or match["cmd"] is not None:
        return Reference("command", "")
    if match["brace"] is not None:
        return _braced(match["brace"], match["default"])
    if match["typed"] is not None:
        name = match["typedname"].strip()
        return Reference(f"{match['typed']}:{name}", name)
    if kind in {"workflow", "mustache"}:
        inner = match[kind]
        head, _, tail = inner.partition(".")
        if head in {"secrets", "inputs", "env", "vars"} and tail:
            canonical = {"secrets": "secret", "inputs": "input"}.get(head, head)
            return Reference(f"{canonical}:{tail}", tail)
        return Reference(f"template:{inner}", inner)
    if match["kept"] is not None:
        return Reference(f"secret:{match['kept']}", match["kept"])
    name = match["code"] or match["percent"] or match["dollar"] or match["shellenv"] or ""
    return Reference(f"env:{name}", name, is_surroundings=bool(_SURROUNDINGS.match(name)))


def _braced(inner: str, default: str | None) -> Reference:
    source, colon, name = inner.partition(":")
    after = default.lstrip(":")[1:] if default and default.lstrip(":")[:1] in {"-", "="} else None
    if not colon:
        if inner.startswith("user_config."):
            return Reference(f"user_config:{inner[12:]}", inner[12:], after)
        return Reference(f"env:{inner}", inner, after, bool(_SURROUNDINGS.match(inner)))
    if source in {"config", "command", "workspaceFolder"}:
        return Reference(f"{source}:{name}", name, after, is_surroundings=source == "workspaceFolder")
    return Reference(f"{source}:{name}", name, after)


def _without_userinfo(uri: str) -> str:
    return re.sub(r"(://)[^/@\s]*@", r"\1", uri)


# --- placeholders ----------------------------------------------------------------------------------------------------

_PLACEHOLDER = re.compile(
    r"(?:<[^<>]*>|\[[^\[\]]*\]|\{[A-Za-z][A-Za-z0-9 _-]*\}|\(.*\)|__[A-Za-z][A-Za-z0-9_]*__|@@?[A-Z_]+@@?|"
    r"#\{[^{}]*\}#?|"
    r"[x*•.…_#?-]+|(.)\1+)\Z",
    re.IGNORECASE | re.DOTALL,
)
_PLACEHOLDER_WORDS = re.compile(
    r"(?<![a-z])(?:your|my|the|some|any|an?)[-_ .]?(?:own|new|personal|real|actual|secret|private|very|super|strong|"
    r"valid|api|app|access|auth|bearer|client|token|key|password|pass|pat|openai|github|company|org|"
    r"[a-z0-9]+[-_ ](?:api[-_ ]?)?"
    r"(?:key|token|secret|password|pat|id|here))(?![a-z0-9])"
    r"|(?<![a-z])your[-_ ]"
    r"|(?<![a-z])(?:sua|seu|tu|su|mi|votre|ton|dein|deine|ihr|ihre|jouw)[-_ ](?:api[-_ ]?)?"
    r"(?:key|token|chave|clave|cl[eé]|schl[uü]ssel|contrase[nñ]a|senha|passwort|wachtwoord|api)(?![a-z])"
    r"|(?-i:Your[A-Z][A-Za-z]*|[A-Za-z]+Here(?![a-z]))"
    r"|(?<![a-z])(?:insert|enter|paste|put|add|replace|change|set|fill|use|get|obtain|generate|provide|specify)[-_ ]?"
    r"(?:me|this|your|with|here|in|it|from|at|by|later|before|a|the|own|value)(?![a-z])"
    r"|(?<![a-z])(?:change|replace)me"
    r"|(?<![a-z])(?:placeholder|redacted|todo|fixme|dummy|foobar|lorem|not[-_ ]?set|not[-_ ]a[-_ ]real|goes[-_ ]here|"
    r"user_provided|undefined|tbd|omitted|removed|hidden|masked|censored|no[-_]?key|not[-_]needed|not[-_]required)(?![a-z])"
    r"|(?:key|token|secret|password|pat|value|id)[-_ ]?(?:goes[-_ ])?here(?![a-z])"
    r"|(?<![a-z])(?:example|sample|fake|test|demo|mock)[-_ ]?(?:api|key|token|secret|password|pass|value|pat|access|"
    r"auth|"
    r"bearer|client|credential)"
    r"|(?:key|token|secret|password|value)[-_ ]?(?:example|sample|placeholder)(?![a-z])"
    r"|x{5,}|\*{3,}|…|\.{3}|•{3,}|(?<![a-z0-9])x{3,4}(?![a-z0-9])"
    r"|<[a-z][a-z0-9 _.-]*>|\[[a-z][a-z _-]*\]",
    re.IGNORECASE,
)
_PLACEHOLDER_EXACT = word_set(
    "ollama lm-studio lmstudio no-key-required "
    "none null nil n/a na nan undefined token secret password passwd apikey api_key api-key key test testing "
    "example sample foo bar baz foobar value string credential credentials access_token auth_token secret_key "
    "my-token mytoken mykey my-key abc abc123 abcd1234 abcdef abcdefg 123 1234 12345 123456 1234567 12345678 "
    "123456789 1234567890 0123456789 default empty blank unset pass pwd dummy fake demo mock tbd user_provided "
    "optional required your pat bearer api_token client_secret access_key github_token github_pat openai_api_key "
    "notion_token token123 key123 secret123"
)
_SEQUENCES = (
    "0123456789012345678901234567890",
    "1234567890123456789012345678901",
    "abcdefghijklmnopqrstuvwxyz",
    "9876543210",
    "qwertyuiop",
    "abc123abc123",
    "deadbeefdeadbeef",
)
# Every eight characters of a sequence contain one of these.
_SEQUENCE_SIGNS = (
    "0123",
    "4567",
    "8901",
    "2345",
    "6789",
    "abcd",
    "efgh",
    "ijkl",
    "mnop",
    "qrst",
    "uvwx",
    "9876",
    "5432",
    "wert",
    "abc1",
    "c123",
    "23ab",
    "dead",
    "beef",
)


def is_placeholder(value: str) -> bool:
    """Whether the value stands for a secret that somebody has yet to fill in."""
    text = value.strip().strip("\"'")
    if not text or len(text) > 300:
        return not text
    lowered = text.lower()
    return (
        lowered in _PLACEHOLDER_EXACT
        or _PLACEHOLDER.match(text) is not None
        or (not _is_varied(text) and _PLACEHOLDER_WORDS.search(text) is not None)
        or (len(text) <= 80 and _is_sequence(lowered))
        or len(set(text) - {"-"}) == 1
    )


def is_typed_noise(value: str) -> bool:
    """Whether a value that looks random is mostly a piece of the alphabet or of the digits."""
    return len(value) <= 80 and _is_sequence(value.lower())


def _is_sequence(lowered: str) -> bool:
    if not any(sign in lowered for sign in _SEQUENCE_SIGNS):
        return False
    steps = sum(1 for a, b in pairwise(lowered) if ord(b) - ord(a) == 1)
    return steps >= 0.7 * (len(lowered) - 1) or any(_mostly(lowered, run) for run in _SEQUENCES)


def _is_varied(text: str) -> bool:
    """Whether a text has more different characters than words do; spares noise the search for words."""
    return len(set(text)) >= 24 and any(character.isdigit() for character in text)


def is_hollow(body: str) -> bool:
    """Whether what follows a format's prefix was typed by hand: one character over and over, or the alphabet."""
    if not body:
        return True
    if len(set(body)) < min(6, len(body) // 3 + 1):
        return True
    if _is_sequence(body.lower()):
        return True
    if not body.isalnum() and not _is_varied(body) and _PLACEHOLDER_WORDS.search(body) is not None:
        return True
    return "xxxxx" in body.lower()


def _mostly(text: str, run: str) -> bool:
    """Whether at least half of `text` is a piece of `run`."""
    need = max(8, (len(text) + 1) // 2)
    if need > len(text):
        return False
    need = min(need, len(run))
    # A piece of that length that starts anywhere must contain one of the text's own windows.
    return any(text[i : i + need] in run for i in range(len(text) - need + 1)) if need * 2 >= len(text) else False


# --- plain settings --------------------------------------------------------------------------------------------------

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z", re.IGNORECASE)
_WORDLIKE = re.compile(r"[A-Za-z]{1,24}\Z")
_PLAIN = re.compile(
    r"(?:true|false|yes|no|on|off|y|n|auto|basic|bearer|oauth2?|jwt|token|header|query|cookie|disabled|enabled|all|any|"
    r"debug|info|warn(?:ing)?|error|trace|inherit|prompt|interactive|keychain|keyring|device|browser|sha256|hs256|rs256|"
    r"-?\d+(?:\.\d+)?(?:ms|s|m|h|d|k|kb|mb|gb|%)?"
    r"|v?\d+\.\d+(?:\.\d+)*(?:[-+][A-Za-z0-9.]+)?"
    r"|\d{4}-\d\d-\d\d(?:[T ][0-9:.+Z-]*)?"
    r"|(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?|localhost(?::\d+)?"
    r"|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
    r"|(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,18}(?::\d+)?"
    r"|(?:us|eu|ap|sa|ca|me|af|il)-[a-z]+-\d"
    r")\Z",
    re.IGNORECASE,
)
_PATH = re.compile(r"(?:[A-Za-z]:[\\/]|\\\\|~?/|\.{1,2}/|~$)[^\n]*\Z")
_FILE_NAME = re.compile(
    r"[\w./\\ -]+\.(?:json|ya?ml|toml|pem|key|crt|cer|p12|pfx|txt|env|ini|conf|db|sqlite3?|py|js|ts|sh|log)\Z"
)
_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S+\Z", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]+\Z|[0-9A-F]+\Z")
_DIGIT = re.compile(r"[0-9]")
_SEPARATORS = re.compile(r"[-_.:/ ]")
_PIECES = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_TOKEN_SHAPE = re.compile(r"[A-Za-z0-9_+/=.:~!@#%^&*$-]+\Z")
_DIGEST = re.compile(r"(?:sha(?:1|256|384|512)|md5)[:-][A-Za-z0-9+/=]+\Z", re.IGNORECASE)


def is_path(value: str) -> bool:
    """Whether the value names a file or folder."""
    if _FILE_NAME.match(value) and len(value) < 200:
        return True
    if _PATH.match(value) is None:
        return False
    # Base64 may begin with a slash; a path has short, readable parts.
    return not (
        value.startswith("/") and value.count("/") < 3 and len(value) > 36 and is_random(value.replace("/", ""))
    )


def is_plain(value: str) -> bool:
    """Whether the value is evidently a setting: a switch, a number, a version, a date, an address, a host."""
    return _PLAIN.match(value) is not None or _DIGEST.match(value) is not None


def is_url(value: str) -> bool:
    return "://" in value and _URL.match(value) is not None


def entropy(value: str) -> float:
    """Shannon entropy in bits per character."""
    size = len(value)
    shares = [value.count(character) / size for character in set(value)]
    return -sum([share * math.log2(share) for share in shares])


def _spread(value: str, size: int) -> float:
    """The entropy, or its usual value where so many different characters leave no doubt."""
    different = len(set(value))
    return 4.0 if different >= 12 and different * 2 >= size else entropy(value)


def is_random(value: str) -> bool:
    """Whether the value looks made by a generator rather than by a person."""
    size = len(value)
    if size < 16 or size > 4096 or _TOKEN_SHAPE.match(value) is None:
        return False
    if _HEX.match(value):
        return size >= 20 and not value.isdigit() and _spread(value, size) >= 2.9
    if UUID.match(value):
        return True
    kinds = (_DIGIT.search(value) is not None) + (value != value.upper()) + (value != value.lower())
    if kinds < 2 or _spread(value, size) < (3.2 if size < 24 else 3.5):
        return False
    # Words joined by separators are names (`my-cool-project-2`), not noise.
    pieces = [p for p in _SEPARATORS.split(value) if p]
    if len(pieces) > 1:
        readable = sum(len(p) for p in pieces if (_WORDLIKE.match(p) and _readable(p)) or p.isdigit())
        return readable < 0.6 * sum(map(len, pieces))
    if kinds == 2 and not any(c.isdigit() for c in value):
        return not _readable_camel(value)
    return True


def is_noise(name: str) -> bool:
    """Whether a text in the place of a name looks random and has no words in it either: a secret put there."""
    if len(name) < 20 or not is_random(name) or UUID.match(name):
        return False
    pieces = _PIECES.findall(name)
    words = sum(map(len, filter(_is_word, pieces))) / len(name)
    # Noise changes between capitals, small letters and digits every other character; chance words do not save it.
    return words < (0.75 if len(pieces) * 3 > len(name) else 0.5)


def _is_word(piece: str) -> bool:
    return len(piece) > 3 and not piece.isdigit() and _readable(piece)


def _readable(piece: str) -> bool:
    """Whether letters alone read like a word: vowels in their usual share, no long run of consonants."""
    lowered = piece.lower()
    if len(lowered) <= 3:
        return piece.islower() or piece.isupper() or piece.istitle()
    if not (
        piece.islower() or piece.isupper() or piece.istitle() or re.fullmatch(r"[A-Z]?[a-z]+(?:[A-Z][a-z]+)*", piece)
    ):
        return False
    vowels = sum(lowered.count(v) for v in "aeiouy")
    return 0.2 <= vowels / len(lowered) <= 0.7 and re.search(r"[bcdfghjklmnpqrstvwxz]{5}", lowered) is None


def _readable_camel(value: str) -> bool:
    pieces = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", value)
    return len(pieces) <= max(1, len(value) // 4) and sum(len(p) for p in pieces if _readable(p)) > 0.7 * len(value)
