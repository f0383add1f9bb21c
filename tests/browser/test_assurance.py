"""Controls, evidence packs and samples in the browser: in both themes, at every width, and while a pack is built."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import Page, expect

from inventory.models import Credential
from reviews.actions.controls import measure_controls
from reviews.models import EvidencePack
from reviews.packing.building import build
from tests.browser.conftest import unfit
from tests.reviews.packed import member


@pytest.mark.long
def test_a_pack_is_asked_for_watched_and_read(signed_in: Page, live_server, axe: Axe, settings, tmp_path):
    settings.EVIDENCE_DIR, settings.CHAIN_KEY = tmp_path / "evidence", tmp_path / "chain.key"
    measure_controls(timezone.now())
    signed_in.goto(f"{live_server.url}/evidence/")
    signed_in.get_by_role("link", name="Build a pack").first.click()
    signed_in.get_by_label("What it is for").fill("The half-year")
    signed_in.get_by_role("button", name="Build it").click()
    expect(signed_in.get_by_role("progressbar")).to_be_visible()
    pack = EvidencePack.objects.get()
    assert build(pack.pk, clock=timezone.now)
    expect(signed_in.locator("#pack-progress").get_by_text("Ready since")).to_be_visible()
    signed_in.reload()
    expect(signed_in.get_by_text(EvidencePack.objects.get().sha256)).to_be_visible()
    with signed_in.expect_download() as download:
        signed_in.get_by_role("link", name="Download", exact=True).click()
    assert download.value.suggested_filename.endswith(".zip")
    item = Credential.objects.order_by("pk").first()
    paths = (
        "/controls/", "/controls/PR.AA-01/", "/evidence/", "/evidence/new/", f"/evidence/{pack.pk}/",
        "/evidence/sample/?size=5&seed=x&population=gone%3Dfalse", f"/evidence/sample/{item.pk}/", "/audit/",
        "/audit/heads/", f"/credentials/{item.pk}/?as_of={timezone.now():%Y-%m-%dT%H:%M:%SZ}",
    )  # fmt: skip
    assert unfit(signed_in, axe, *(live_server.url + path for path in paths), at=(390, 1440)) == {}
    summary = tmp_path / "summary.html"
    summary.write_bytes(member((tmp_path / "evidence" / f"{pack.pk}.zip").read_bytes(), "summary.html"))
    assert unfit(signed_in, axe, summary.as_uri()) == {}
