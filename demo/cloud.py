"""Three AWS accounts of a mid-sized company: keys of all ages, secrets that rotate and secrets that do not.

    python -m demo.cloud --endpoint http://127.0.0.1:5005

serves them there with moto until it is ended, and prints "ready" with the address when they can be asked (port 0: a
free one). The same key ids each time, so that an inventory made yesterday meets the same keys today; ages count from
the moment of the start.

moto checks signatures and permissions here. What it does not answer as AWS does is answered by `Endpoint`.
"""

import argparse
import base64
import csv
import io
import json
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID
from xml.etree import ElementTree  # nosec B405  # reads moto's own answers

from moto import settings as moto_settings
from moto.iam.models import AccessKey, AccessKeyLastUsed, IAMBackend, iam_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.models import s3_backends
from moto.secretsmanager.models import FakeSecret, secretsmanager_backends
from werkzeug.serving import BaseWSGIServer, make_server

from demo.estate import AWS_ACCOUNT, Forge, aws_key_id, aws_pair
from demo.places import HEADS

NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"
REGIONS = ("eu-north-1", "eu-west-1")
SERVICES = ("s3", "sts", "ec2", "dynamodb", "sqs", "lambda", "bedrock", "ecr", "secretsmanager", "kms")
HOME_ACCOUNT = "306119874500"
ACCOUNTS = {AWS_ACCOUNT: "production", "528341096722": "analytics", "639452107833": "sandbox"}
USERS = {AWS_ACCOUNT: 130, "528341096722": 90, "639452107833": 70}
LOOKS_ON = "keyreeve-reader"
WORKLOADS = ("mcp", "ci", "etl", "svc", "agent", "backup", "terraform", "report", "lambda", "batch")
SYSTEMS = (
    "freight-planner",
    "billing",
    "customs",
    "warehouse",
    "routing",
    "invoices",
    "telemetry",
    "maps",
    "fleet",
    "archive",
    "partner-portal",
    "search",
)
SECRETS = ("database", "api-key", "webhook", "signing-key", "smtp")
READ = [
    "iam:ListUsers",
    "iam:ListAccessKeys",
    "iam:GetAccessKeyLastUsed",
    "iam:ListServiceSpecificCredentials",
    "iam:GenerateCredentialReport",
    "iam:GetCredentialReport",
    "secretsmanager:ListSecrets",
    "secretsmanager:ListSecretVersionIds",
]
# What else a role needs to rotate and revoke access keys, and to deliver new ones.
ROTATE = ["iam:ListAccessKeys", "iam:GetAccessKeyLastUsed", "iam:CreateAccessKey", "iam:UpdateAccessKey"]
ROTATE += ["iam:DeleteAccessKey"]
DELIVER = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"]
DELIVER += ["secretsmanager:UpdateSecretVersionStage"]
# A key past its date, whose consumers read it from Secrets Manager.
EXPORTER = "mcp-invoice-export"
EXPORTER_ENTRY = "production/invoice-export/aws-key"
# Who puts the heads of the audit chain into their bucket: it adds and reads, and removes nothing.
WITNESS = "keyreeve-heads"
ADD = ["s3:PutObject", "s3:PutObjectRetention", "s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectRetention"]
ADD += ["s3:ListBucket", "s3:ListBucketVersions"]
Environ = dict[str, Any]
Start = Callable[..., Any]


@dataclass
class Answer:
    """What goes back over the wire, and what moto said."""

    status: str = "200 OK"
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def send(self, start: Start) -> Iterable[bytes]:
        kept = [(name, value) for name, value in self.headers if name.lower() != "content-length"]
        start(self.status, [*kept, ("Content-Length", str(len(self.body)))])
        return [self.body]


class QuietHandler(MotoRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - the name is werkzeug's
        """Say nothing: a line for each of a thousand requests helps nobody."""


class Endpoint:
    """A WSGI application: moto, with what AWS does and moto does not.

    `ListUsers` comes in pages, `ListServiceSpecificCredentials` answers, the credential report says where a key was
    used, an inactive key is refused, and a secret that is read is the current one.
    """

    def __init__(self, *, page: int = 100) -> None:
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.page = page
        self.service_credentials: dict[str, list[dict[str, str]]] = {}

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        asked = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        return self.answer(asked.get("Action", "") or target.rpartition(".")[2], asked, environ).send(start)

    def answer(self, action: str, asked: dict[str, str], environ: Environ) -> Answer:
        if action == "ListServiceSpecificCredentials":
            return self._service_credentials(environ)
        if is_switched_off(environ):
            return _refused(is_query="Action" in asked)
        if action == "GetSecretValue":
            _know_current(environ)
        given = self.ask_moto(environ)
        if action == "ListUsers" and given.status.startswith("200"):
            given.body = self._paged(given.body, int(asked.get("Marker", "0")), asked.get("MaxItems", ""))
        if action == "GetCredentialReport" and given.status.startswith("200"):
            given.body = _with_places(given.body, account_of(environ))
        return given

    def ask_moto(self, environ: Environ) -> Answer:
        given = Answer()

        def start(status: str, headers: list[tuple[str, str]], _exc: Any = None) -> None:
            given.status, given.headers = status, headers

        given.body = b"".join(self.moto(environ, start))
        return given

    def _paged(self, body: bytes, begin: int, most: str) -> bytes:
        root = ElementTree.fromstring(body)  # nosec B314  # noqa: S314 - moto's own
        users, result = _one(root, "Users"), _one(root, "ListUsersResult")
        end = begin + min(int(most or self.page), self.page)
        is_truncated = len(users) > end
        for user in [*list(users)[:begin], *list(users)[end:]]:
            users.remove(user)
        for name in ("IsTruncated", "Marker"):
            for said in result.findall(f"{{{NAMESPACE}}}{name}"):
                result.remove(said)
        ElementTree.SubElement(result, f"{{{NAMESPACE}}}IsTruncated").text = str(is_truncated).lower()
        if is_truncated:
            ElementTree.SubElement(result, f"{{{NAMESPACE}}}Marker").text = str(end)
        return ElementTree.tostring(root)

    def _service_credentials(self, environ: Environ) -> Answer:
        name = "ListServiceSpecificCredentials"
        root = ElementTree.Element(f"{{{NAMESPACE}}}{name}Response")
        result = ElementTree.SubElement(root, f"{{{NAMESPACE}}}{name}Result")
        listed = ElementTree.SubElement(result, f"{{{NAMESPACE}}}ServiceSpecificCredentials")
        for entry in self.service_credentials.get(account_of(environ), []):
            member = ElementTree.SubElement(listed, f"{{{NAMESPACE}}}member")
            for field_name, value in entry.items():
                ElementTree.SubElement(member, f"{{{NAMESPACE}}}{field_name}").text = value
        ElementTree.SubElement(result, f"{{{NAMESPACE}}}IsTruncated").text = "false"
        return Answer(headers=[("Content-Type", "text/xml")], body=ElementTree.tostring(root))


def _one(root: ElementTree.Element, name: str) -> ElementTree.Element:
    found = root.find(f".//{{{NAMESPACE}}}{name}")
    if found is None:
        raise ValueError(f"moto's answer has no {name}.")
    return found


def _signed_with(environ: Environ) -> str:
    """The id of the key that signed the request."""
    return str(environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].partition("/")[0])


def is_switched_off(environ: Environ) -> bool:
    """Whether an inactive key signed the request: AWS refuses it, moto does not."""
    signed = _signed_with(environ)
    keys = (partitions["aws"].access_keys.get(signed) for _, partitions in list(iam_backends.items()))
    return any(key.status == "Inactive" for key in keys if key is not None)


def _refused(*, is_query: bool) -> Answer:
    if is_query:
        code = "<Code>InvalidClientTokenId</Code><Message>The security token is invalid.</Message>"
        body = f"<ErrorResponse><Error><Type>Sender</Type>{code}</Error></ErrorResponse>"
    else:
        body = json.dumps({"__type": "UnrecognizedClientException", "message": "The security token is invalid."})
    return Answer("403 Forbidden", body=body.encode())


def _know_current(environ: Environ) -> None:
    """Of an entry AWS reads the current version, moto the one put last. The request stays as it was signed."""
    body = environ["wsgi.input"].read()
    environ["wsgi.input"] = io.BytesIO(body)
    name = json.loads(body or b"{}").get("SecretId", "")
    for _, regions in list(secretsmanager_backends.items()):
        for backend in regions.values():
            entry = backend.secrets.get(name)
            versions = entry.versions.items() if isinstance(entry, FakeSecret) else ()
            current = [key for key, version in versions if "AWSCURRENT" in version["version_stages"]]
            if isinstance(entry, FakeSecret) and current:
                entry.set_default_version_id(current[0])


def account_of(environ: Environ) -> str:
    """The account of the key that signed the request, as moto finds it."""
    signed = _signed_with(environ)
    for account, partitions in list(iam_backends.items()):
        if signed in partitions["aws"].access_keys:
            return str(account)
    return ""


def _with_places(body: bytes, account: str) -> bytes:
    root = ElementTree.fromstring(body)  # nosec B314  # noqa: S314 - moto's own
    content = _one(root, "Content")
    rows = csv.DictReader(io.StringIO(base64.b64decode(content.text or "").decode()))
    written = io.StringIO()
    writer = csv.DictWriter(written, rows.fieldnames or [], lineterminator="\n")
    writer.writeheader()
    users = iam_backends[account]["aws"].users
    for row in rows:
        for number, key in enumerate(users[row["user"]].access_keys, 1):
            used = key.last_used
            row[f"access_key_{number}_last_used_region"] = used.region if used else "N/A"
            row[f"access_key_{number}_last_used_service"] = used.service if used else "N/A"
        writer.writerow(row)
    content.text = base64.b64encode(written.getvalue().encode()).decode()
    return ElementTree.tostring(root)


class Server:
    """An endpoint on a port of this machine, in a thread."""

    def __init__(self, endpoint: Endpoint, host: str = "127.0.0.1", port: int = 0) -> None:
        self._server: BaseWSGIServer = make_server(
            host,
            port,
            endpoint,
            threaded=True,
            request_handler=QuietHandler,  # type: ignore[arg-type]
        )
        self.url = f"http://{host}:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


# ── What is in there ───────────────────────────────────────────────────────────────────────────────
def iam_of(account: str) -> IAMBackend:
    return iam_backends[account]["aws"]


def add_key(
    account: str,
    user: str,
    *,
    forge: Forge,
    made: datetime,
    used: tuple[datetime, str, str] | None = None,
    is_active: bool = True,
    pair: tuple[str, str] | None = None,
) -> AccessKey:
    """A key of a user, made in the past, and last used at a time, for a service, in a region."""
    iam = iam_of(account)
    if user not in iam.users:
        iam.create_user(REGIONS[0], user).create_date = _naive(made)
    key = iam.create_access_key(user, status="Active" if is_active else "Inactive")
    del iam.access_keys[key.access_key_id]
    key.access_key_id, key.secret_access_key = pair or (aws_key_id(forge, account), forge.text(40))
    iam.access_keys[key.access_key_id] = key
    key.create_date = _naive(made)
    if used is not None:
        key.last_used = AccessKeyLastUsed(_naive(used[0]), used[1], used[2])
    return key


def add_secret(account: str, region: str, name: str, *, made: datetime, value: str, forge: Forge) -> Any:
    """A secret as moto keeps it; its dates may be changed."""
    backend = secretsmanager_backends[account][region]
    backend.create_secret(
        name=name,
        secret_string=value,
        secret_binary=None,
        description=None,
        tags=None,
        kms_key_id=None,
        client_request_token=str(UUID(int=forge.random.getrandbits(128), version=4)),
        replica_regions=[],
        force_overwrite=False,
    )
    secret = backend.secrets[name]
    secret.created_date = secret.last_changed_date = int(made.timestamp())
    return secret


def _naive(at: datetime) -> datetime:
    """moto reckons in UTC without saying so, and in whole seconds."""
    return at.astimezone(UTC).replace(tzinfo=None, microsecond=0)


def identity(seed: int = 7) -> tuple[str, str]:
    """The key that Keyreeve's connection uses: it may assume the reader's role of every account, and no more."""
    forge = Forge(seed + 3)
    return aws_key_id(forge, HOME_ACCOUNT), forge.text(40)


def roles() -> list[str]:
    return [f"arn:aws:iam::{account}:role/{LOOKS_ON}" for account in ACCOUNTS]


def fill(endpoint: Endpoint, *, now: datetime, seed: int = 7) -> None:
    """Put the company's accounts into this process's moto."""
    forge = Forge(seed + 1)
    add_key(HOME_ACCOUNT, "keyreeve", forge=forge, made=now - timedelta(days=20), pair=identity(seed))
    permitted = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
    iam_of(HOME_ACCOUNT).put_user_policy("keyreeve", "assume", _policy(permitted))
    for account, count in USERS.items():
        _reader(account)
        for name in _names(forge, count):
            _user(forge, account, name, now)
        for region in REGIONS:
            _secrets(forge, account, region, now)
        endpoint.service_credentials[account] = list(_service_keys(forge, account, now))
    _exporter(now, seed)
    # The key that a configuration file of the demo estate holds is a real one.
    made, used = now - timedelta(days=164), (now - timedelta(days=6), "ec2", REGIONS[0])
    add_key(AWS_ACCOUNT, "mcp-aws-ops", forge=forge, made=made, used=used, pair=aws_pair(seed))


def _policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def _reader(account: str) -> None:
    trusted = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{HOME_ACCOUNT}:user/keyreeve"}}
    iam = iam_of(account)
    iam.create_role(
        role_name=LOOKS_ON,
        assume_role_policy_document=_policy({**trusted, "Action": "sts:AssumeRole"}),
        path="/",
        permissions_boundary=None,
        description="Reads which keys there are",
        tags=[],
        max_session_duration="3600",
    )
    iam.put_role_policy(LOOKS_ON, "read", _policy({"Effect": "Allow", "Action": READ, "Resource": "*"}))


def exporter_pair(seed: int = 7) -> tuple[str, str]:
    forge = Forge(seed + 5)
    return aws_key_id(forge, AWS_ACCOUNT), forge.text(40)


def exporter_location() -> str:
    """Where its consumers read the key, and where a rotation leaves the next one."""
    return f"aws-sm://{_exporter_arn()}#AWS_SECRET_ACCESS_KEY,AWS_ACCESS_KEY_ID"


def _exporter_arn() -> str:
    return f"arn:aws:secretsmanager:{REGIONS[0]}:{AWS_ACCOUNT}:secret:{EXPORTER_ENTRY}-kR7x2q"


def _exporter(now: datetime, seed: int) -> None:
    """A user whose key is four months old, the entry that its consumers read, and the right to rotate both."""
    pair, made = exporter_pair(seed), now - timedelta(days=121)
    used = (now - timedelta(hours=3), "s3", REGIONS[0])
    add_key(AWS_ACCOUNT, EXPORTER, forge=Forge(seed + 5), made=made, used=used, pair=pair)
    held = {"AWS_ACCESS_KEY_ID": pair[0], "AWS_SECRET_ACCESS_KEY": pair[1], "AWS_REGION": REGIONS[0]}
    entry = add_secret(
        AWS_ACCOUNT, REGIONS[0], EXPORTER_ENTRY, made=made, value=json.dumps(held), forge=Forge(seed + 6)
    )
    entry.arn = _exporter_arn()  # moto draws the end of an ARN by chance
    permit_rotation(AWS_ACCOUNT)


def permit_rotation(account: str) -> None:
    """At AWS by name and not for all; moto knows no rights to one thing alone."""
    permitted = {"Effect": "Allow", "Action": [*ROTATE, *DELIVER], "Resource": "*"}
    iam_of(account).put_role_policy(LOOKS_ON, "rotate", _policy(permitted))


def keep_heads(pair: tuple[str, str], *, now: datetime) -> None:
    """A bucket with Object Lock, and a user with this key that may add to it."""
    add_key(HOME_ACCOUNT, WITNESS, forge=Forge(1), made=now, pair=pair)
    iam_of(HOME_ACCOUNT).put_user_policy(WITNESS, "add", _policy({"Effect": "Allow", "Action": ADD, "Resource": "*"}))
    bucket = s3_backends[HOME_ACCOUNT]["aws"].create_bucket(HEADS, REGIONS[0])
    bucket.object_lock_enabled, bucket.versioning_status = True, "Enabled"


def _names(forge: Forge, count: int) -> list[str]:
    every = [f"{workload}-{system}" for workload in WORKLOADS for system in SYSTEMS]
    forge.random.shuffle(every)
    return [every[n % len(every)] + ("" if n < len(every) else f"-{n // len(every) + 1}") for n in range(count)]


def _user(forge: Forge, account: str, name: str, now: datetime) -> None:
    chance = forge.random.random
    keys = forge.random.choices((0, 1, 2), (2, 6, 2))[0]
    joined = now - timedelta(days=min(forge.random.lognormvariate(5.6, 0.9), 2_600))
    iam_of(account).create_user(REGIONS[0], name).create_date = _naive(joined)
    for _ in range(keys):
        made = joined + (now - joined) * chance()
        used = None
        if chance() > 0.12:
            idle = min(forge.random.expovariate(1 / 30), (now - made).days)
            used = (now - timedelta(days=idle), forge.random.choice(SERVICES), forge.random.choice(REGIONS))
        add_key(account, name, forge=forge, made=made, used=used, is_active=chance() > 0.12)


def _secrets(forge: Forge, account: str, region: str, now: datetime) -> None:
    for system in SYSTEMS:
        kind = forge.random.choice(SECRETS)
        made = now - timedelta(days=forge.random.randint(20, 1_200))
        name = f"{ACCOUNTS[account]}/{system}/{kind}"
        secret = add_secret(account, region, name, made=made, value=forge.text(32), forge=forge)
        secret.arn = f"{secret.arn[:-6]}{forge.text(6)}"  # moto draws the end of an ARN by chance
        if forge.random.random() < 0.45:
            days = forge.random.choice((30, 60, 90))
            late = forge.random.random() < 0.2  # a rotation that is due and does not come
            rotated = now - timedelta(days=days + 25 if late else forge.random.randint(0, days - 1))
            rotated = max(rotated, made)
            secret.rotation_requested = secret.rotation_enabled = True
            secret.auto_rotate_after_days = days
            secret.last_rotation_date = secret.last_changed_date = int(rotated.timestamp())
            secret.next_rotation_date = int((rotated + timedelta(days=days)).timestamp())


def _service_keys(forge: Forge, account: str, now: datetime) -> Iterable[dict[str, str]]:
    """Keys for Bedrock alone, some for ever and some for a while."""
    for name in sorted(iam_of(account).users)[:4]:
        made = now - timedelta(days=forge.random.randint(10, 300))
        entry = {
            "UserName": name,
            "Status": "Active",
            "ServiceCredentialAlias": f"{name}-at-{account}",
            "CreateDate": f"{_naive(made).isoformat()}Z",
            "ServiceSpecificCredentialId": aws_key_id(forge, account, "ACCA") + "A",
            "ServiceName": "bedrock.amazonaws.com",
        }
        if forge.random.random() < 0.6:
            entry["ExpirationDate"] = f"{_naive(made + timedelta(days=365)).isoformat()}Z"
        yield entry


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.cloud", description="Serves the demo company's AWS accounts.")
    parser.add_argument("--endpoint", default="http://127.0.0.1:5005", help="Where to listen.")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--heads-key", type=Path, help="File of ACCESS_KEY_ID:SECRET for the bucket of chain heads.")
    chosen = parser.parse_args(arguments)
    address = urlsplit(chosen.endpoint)
    endpoint = Endpoint()
    fill(endpoint, now=datetime.now(tz=UTC), seed=chosen.seed)
    if chosen.heads_key:
        key_id, _, secret = chosen.heads_key.read_text().strip().partition(":")
        keep_heads((key_id, secret), now=datetime.now(tz=UTC))
    moto_settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    server = Server(endpoint, address.hostname or "127.0.0.1", 5005 if address.port is None else address.port)
    server.start()
    sys.stdout.write(f"ready {server.url}\n")
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    try:
        signal.pause()
    except (KeyboardInterrupt, SystemExit):
        server.stop()


if __name__ == "__main__":
    main()
