"""A quarter's access review from the draft to what an auditor holds, over the demo company's AWS and in a browser.

Nothing is played: the keys are those of the demo's accounts, over the wire; a revoked one is refused there; the heads
of the audit chain lie in its bucket under Object Lock; and a Python without any package verifies the pack.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.session import Session
from django.db import connections
from django.utils import timezone
from moto.moto_api._internal.models import moto_api_backend
from playwright.sync_api import Page, expect
from pytest_django import Settings

from access.actors import Actor
from access.roles import Role
from audit.exports import export_due
from audit.heads import sign_head, signing_key
from audit.object_lock import Bucket
from audit.places import place_at
from audit.signing import public
from demo import cloud
from demo.places import HEADS
from inventory.actions.connections import create_connection
from inventory.actions.ownership import assign_custodian, assign_owner
from inventory.actions.tags import tag_credentials
from inventory.engine import sync
from inventory.models import Connection, Credential
from inventory.states import ConnectionKind, CredentialStatus, OwnerKind
from lifecycle.actions.evaluation import evaluate
from lifecycle.engine.runner import advance
from lifecycle.models import Operation
from lifecycle.states import Proof
from reviews.models import Campaign, EvidencePack, ReviewItem
from reviews.packing.building import build
from reviews.running import carry_on
from reviews.states import Ending, ItemState
from tests import factories
from tests.browser.test_reviews import cursor, open_queue, sign_in, sits
from tests.clouds import strict
from tests.reviews.company import Somebody, somebody
from tests.reviews.packed import member, member_json, official_oscal

WORKER = Actor.system("worker")
NAME, TAG, ALL = "Quarterly review, production keys", "quarterly", 200
HEADS_KEY = ("AKIADEMOHEADSDEMO000", "not-a-secret-but-long-enough")
REGION = cloud.REGIONS[0]


@pytest.fixture
def endpoint(settings: Settings, tmp_path: Path, transactional_db: None) -> Iterator[str]:
    """The demo company's AWS, checking signatures and rights, with the bucket for chain heads."""
    settings.ALLOW_LOOPBACK = True
    settings.REFERENCE_FOLDERS = (tmp_path,)
    settings.EVIDENCE_DIR, settings.CHAIN_KEY = tmp_path / "evidence", tmp_path / "chain.key"
    moto_api_backend.reset()
    held = cloud.Endpoint()
    cloud.fill(held, now=datetime.now(tz=UTC))
    cloud.keep_heads(HEADS_KEY, now=datetime.now(tz=UTC))
    for account in cloud.ACCOUNTS:
        cloud.permit_rotation(account)
    server = cloud.Server(held)
    server.start()
    with strict():
        yield server.url
    server.stop()
    moto_api_backend.reset()


def beside(work: Callable[[], Any]) -> Any:
    """As a worker does it: Playwright keeps a loop in this thread."""

    def run() -> Any:
        try:
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as worker:
        return worker.submit(run).result()


def look_at(endpoint: str, folder: Path) -> Connection:
    key_id, secret = cloud.identity()
    (folder / "reader").write_text(secret)
    given = {
        "access_key_id": key_id,
        "secret_access_key": f"file://{folder / 'reader'}",
        "roles": cloud.roles(),
        "regions": [REGION],
        "endpoint": endpoint,
        "bound_to": endpoint.partition("://")[2],
        "secrets": False,
    }
    row: Connection = create_connection(
        kind=ConnectionKind.AWS, name="AWS accounts", settings=given, actor=WORKER, now=timezone.now()
    )

    def work() -> None:
        sync(row.pk, clock=timezone.now, actor=WORKER)
        evaluate(timezone.now(), actor=WORKER, full=True)

    beside(work)
    return row


def carry_out() -> None:
    """What was decided is begun, worked for at the times that it is due, and followed to its end."""
    begun: list[Operation] = []

    def work() -> None:
        carry_on(clock=timezone.now, ring=begun.append)
        for operation in begun:
            now = timezone.now()
            for _ in range(60):
                operation.refresh_from_db()
                if operation.due_at is None:
                    break
                now = max(now, operation.due_at, operation.lease_until or now) + timedelta(seconds=1)
                advance(operation.pk, clock=lambda now=now: now, jitter=lambda: 0.5)
        carry_on(clock=timezone.now, ring=begun.append)

    beside(work)


def draft_and_launch(page: Page, root: str, lead: Somebody) -> Campaign:
    page.goto(f"{root}/campaigns/new/")
    page.get_by_label("Name", exact=True).fill(NAME)
    page.get_by_label("Due on").fill(f"{timezone.now() + timedelta(days=21):%Y-%m-%d}")
    page.get_by_label("Lead").fill(lead.owner.name)
    page.get_by_text("Narrow its scope, and more").click()
    page.get_by_label("Tags").fill(TAG)
    page.get_by_role("button", name="Save the draft").click()
    page.get_by_role("link", name="Launch…").click()
    expect(page.get_by_role("dialog")).to_contain_text(str(ALL))
    page.get_by_role("dialog").get_by_role("button", name="Launch it").click()
    expect(page.get_by_text(f"Launched with {ALL} items.")).to_be_visible()
    return Campaign.objects.get()


def decide_all(page: Page) -> ReviewItem:
    """From the keyboard: the first is revoked, the others are kept, those alike together. Gives the one to revoke."""
    press = page.keyboard.press
    open_queue(page)
    sits(page, f"{ALL} to decide")
    press("j")
    name = cursor(page).locator(".name").inner_text()
    press("3")
    says_why_if_asked(page, "Nobody could say what it is for.")
    left = ALL - 1
    sits(page, f"{left} to decide")
    while left:
        press("a")
        page.wait_for_url("**alike=**", wait_until="load")
        press("j")
        rows = page.locator("[data-row]").count()
        press("*")
        press("1")
        page.get_by_label("Reason").wait_for()
        page.keyboard.type("Its team named what it is for.")
        press("Enter")
        left -= rows
        sits(page, f"{left} to decide")
        press("j")
    press("S")
    expect(page.get_by_role("dialog")).to_contain_text(f"Submit {ALL} decisions")
    press("Tab")
    press("Enter")
    expect(page.get_by_text(f"{ALL} decisions submitted")).to_be_visible(timeout=60_000)
    return ReviewItem.objects.get(name=name)


def says_why_if_asked(page: Page, reason: str) -> None:
    """A decision against what is recommended asks for a reason; one that follows it does not."""
    page.locator("dialog[open], tr[data-row]:has([data-key=u])").first.wait_for()
    if page.locator("dialog[open]").count():
        page.keyboard.type(reason)
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_have_count(0)


def sign_out(page: Page) -> None:
    page.context.clear_cookies()


def keys_of_all_accounts() -> list[dict[str, Any]]:
    return [cloud.iam_of(account).access_keys for account in cloud.ACCOUNTS]


def answers(endpoint: str, key_id: str, secret: str) -> str:
    """What AWS says to somebody who signs with this key."""
    client = Session().create_client(
        "sts", region_name=REGION, endpoint_url=endpoint, aws_access_key_id=key_id, aws_secret_access_key=secret
    )
    try:
        return str(client.get_caller_identity()["Arn"])
    except ClientError as exc:
        return str(exc.response["Error"]["Code"])


def heads_kept(endpoint: str, key_file: Path) -> tuple[Bucket, bytes]:
    """Sign the head of the chain and put it into the bucket; the bucket, and the key as its auditor holds it."""
    address = f"s3://{HEADS}/story?region={REGION}&mode=governance&days=1&endpoint={endpoint}"
    place = place_at(address, key=":".join(HEADS_KEY))
    assert isinstance(place, Bucket)

    def work() -> bytes:
        now = timezone.now()
        key = signing_key(key_file, now=now, actor=WORKER)
        sign_head(key, now=now, actor=WORKER)
        export_due([place], clock=timezone.now, actor=WORKER)
        return public(key)

    return place, beside(work)


def downloaded(page: Page, root: str, folder: Path) -> Path:
    """A pack asked for on its page, built as a worker does, and fetched."""
    page.goto(f"{root}/evidence/new/")
    page.get_by_label("What it is for").fill("The quarter")
    page.get_by_role("button", name="Build it").click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    pack = EvidencePack.objects.get()
    assert beside(lambda: build(pack.pk, clock=timezone.now))
    page.goto(f"{root}/evidence/{pack.pk}/")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download", exact=True).click()
    path = folder / "pack.zip"
    download.value.save_as(path)
    return path


@pytest.mark.long
def test_a_quarter_is_reviewed_carried_out_signed_and_proved(
    page: Page, live_server, settings: Settings, endpoint: str, tmp_path: Path
):
    priya, mira = somebody("Priya", Role.REVIEWER), somebody("Mira", Role.REVIEWER)
    look_at(endpoint, tmp_path)
    active = Credential.objects.live().filter(status=CredentialStatus.ACTIVE).order_by("pk")
    chosen = Credential.objects.filter(pk__in=list(active.values_list("pk", flat=True)[:ALL]))
    team = factories.owner(name="Payments", kind=OwnerKind.TEAM)
    assign_owner(chosen, team, actor=WORKER, reason="They run it.")
    assign_custodian(chosen, mira.owner, actor=WORKER, reason="She looks after their keys.")
    tag_credentials(chosen, add=[TAG], remove=[], actor=priya.actor)
    before = timezone.now()

    root = live_server.url
    sign_in(page, root, priya)
    campaign = draft_and_launch(page, root, priya)
    sign_out(page)
    sign_in(page, root, mira)
    item = decide_all(page)
    key_id = item.credential.external_id
    secret = next(iam[key_id].secret_access_key for iam in keys_of_all_accounts() if key_id in iam)
    assert answers(endpoint, key_id, secret).startswith("arn:aws:iam::")
    carry_out()
    item.refresh_from_db()
    assert (item.state, item.ending) == (ItemState.CLOSED, Ending.REVOKED), (item.returned_reason, item.operation)
    assert item.operation.proof == Proof.VERIFIED
    assert answers(endpoint, key_id, secret) == "InvalidClientTokenId"

    page.goto(f"{root}/campaigns/{campaign.pk}/")
    page.get_by_role("link", name="Attest…").click()
    page.get_by_role("dialog").get_by_role("button", name="Attest").click()
    expect(page.get_by_text(f"You attested {ALL} decisions.")).to_be_visible()
    sign_out(page)
    sign_in(page, root, priya)
    page.goto(f"{root}/campaigns/{campaign.pk}/")
    page.get_by_role("link", name="Sign…").click()
    page.get_by_role("dialog").get_by_label("Statement").fill("Every key was looked at, and one is gone.")
    page.get_by_role("dialog").get_by_role("button", name="Sign it").click()
    expect(page.get_by_text("Signed by Priya")).to_be_visible()

    bucket, held_by_auditor = heads_kept(endpoint, settings.CHAIN_KEY)
    names = [name for name, _ in bucket.documents()]
    kept = bucket.client.head_object(Bucket=HEADS, Key=f"story/{names[-1]}")
    assert kept["ObjectLockRetainUntilDate"] > timezone.now()

    path = downloaded(page, root, tmp_path)
    pack, verify = path.read_bytes(), tmp_path / "verify.py"
    verify.write_bytes(member(pack, "verify.py"))
    python = [sys.executable, "-I", "-S", str(verify), str(path)]
    told = subprocess.run(python, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, ""), told.stdout
    signed = subprocess.run(
        [sys.executable, "-I", str(verify), str(path), "--public-key", held_by_auditor.hex()],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert signed.returncode == 0, signed.stdout
    official = official_oscal()
    for document in ("assessment-results", "poam"):
        assert [error.message for error in official.iter_errors(member_json(pack, f"oscal/{document}.json"))] == []
    campaign.refresh_from_db()
    assert campaign.digest in member(pack, "lists/campaigns.json").decode()

    page.goto(f"{root}/credentials/{item.credential_id}/")
    expect(page.get_by_text("Destroyed").first).to_be_visible()
    page.goto(f"{root}/credentials/{item.credential_id}/?as_of={before:%Y-%m-%dT%H:%M:%S.%fZ}")
    expect(page.get_by_text("Active").first).to_be_visible()
    expect(page.get_by_text("Destroyed")).to_have_count(0)
