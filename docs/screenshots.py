"""Take the pictures of the docs: start the demo estate, sign in by its link, photograph the pages.

    python docs/screenshots.py [FOLDER] [--operations] [--reviews]

Needs Chromium. Everything runs in a temporary home and is gone afterwards. With `--operations` only the pictures of
rotations and revocations are taken: those that something is done for. With `--reviews` only those of an access review,
of ownership, controls and evidence.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
# Where each page is: an address, or a list with the name to follow on it.
PAGES: dict[str, tuple[str, str]] = {
    "overview": ("/", ""),
    "servers": ("/servers/", ""),
    "server": ("/servers/?q=search", "search"),
    "authorization-server": ("/authorization-servers/?is_external=false", "http"),
    "admission": ("/clients/admission/", ""),
    "grants": ("/grants/", ""),
    "connection": ("/connections/", "workstations"),
    "credentials": ("/credentials/", ""),
    "credential": ("/credentials/?q=github-prod", "github-prod"),
    "policies": ("/policies/", ""),
    "policy": ("/policies/", "Payments keys"),
    "rules": ("/rules/", ""),
    "rule": ("/rules/unrotated/", ""),
    "findings": ("/findings/?state=open&state=acknowledged&group=owner", ""),
    "finding": ("/findings/?is_assigned=true", "secret"),
    "waivers": ("/waivers/", ""),
    "risk": ("/credentials/?q=stripe", "stripe"),
    "schedule": ("/schedule/", ""),
    "notifications": ("/notifications/", ""),
}
# All of them in light and wide; a few more ways for those that the first page of the docs shows.
WIDE, NARROW = (1440, 900), (390, 844)
MORE = {
    "overview": [(WIDE, "dark"), (NARROW, "light")],
    "server": [(WIDE, "dark"), (NARROW, "dark")],
    "findings": [(WIDE, "dark")],
    "servers": [(NARROW, "light")],
    "rule": [(WIDE, "dark")],
    "finding": [(NARROW, "light")],
}
# What is done on a page before its picture is taken: a stricter age, tried before it is saved.
TRIED = {"policy": ("Change…", "Maximum age: how many", "30", "Try it")}
# What a picture is of, where that is not the top of the page.
SHOWN = {"risk": "Risk order"}
PATIENCE = 600  # seconds, as a busy machine takes several minutes to found the demo company
# What is rotated, what is revoked, and the file in which a reference takes the place of a secret.
ROTATED, REVOKED, HARD_CODED = "mcp-invoice-export", "payroll", "/billing/.cursor/mcp.json"
REFERENCE = "${env:BILLING_API_KEY}"
# What a review rests on and leads to: taken with those of a review, by whoever reviews.
ASSURANCE = [
    ("ownership", "/ownership/", ""),
    ("controls", "/controls/", ""),
    ("campaign-signed", "/campaigns/", "What clients may use"),
    ("evidence", "/evidence/", "The card scheme"),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running() -> Iterator[tuple[str, dict[str, str]]]:
    """Keyreeve over the demo estate; gives the one-time link, and the environment in which its commands run."""
    folder = Path(tempfile.mkdtemp(prefix="krp-", dir="/tmp"))  # nosec B108  # a short path, for the socket
    environment = {
        **os.environ,
        "KEYREEVE_HOME": str(folder / "home"),
        "KEYREEVE_PORT": str(free_port()),
        "KEYREEVE_STATIC_ROOT": str(folder / "static"),
    }
    log = folder / "demo.log"
    with log.open("w") as out:
        command = [sys.executable, "-m", "demo"]
        demo = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield link_in(log, demo), environment
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(PATIENCE)
        shutil.rmtree(folder, ignore_errors=True)


def link_in(log: Path, demo: subprocess.Popen[bytes]) -> str:
    for _ in range(PATIENCE * 5):
        found = re.search(r"http://\S+/sign-in/\?user=\d+&key=[\w-]+", log.read_text())
        if found:
            return found[0]
        try:
            demo.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
        raise SystemExit(f"The demo did not start:\n{log.read_text()}")
    raise SystemExit(f"No sign-in link within {PATIENCE} s:\n{log.read_text()}")


def photograph(page: Page, base: str, folder: Path) -> None:
    for name, (path, followed) in PAGES.items():
        address = base + path
        if followed:
            page.goto(address)
            found = page.locator("tbody .name", has_text=followed).first.get_attribute("href")
            address = f"{base}{found}"
        for (width, height), theme in [(WIDE, "light"), *MORE.get(name, [])]:
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            page.goto(address)
            page.wait_for_load_state("networkidle")
            if name in TRIED:
                link, label, value, button = TRIED[name]
                page.get_by_role("link", name=link).click()
                page.get_by_label(label).fill(value)
                page.get_by_role("button", name=button).click()
                page.get_by_label("Dry run").wait_for()
                page.evaluate("scrollTo(0, 0)")
            if name in SHOWN:
                page.get_by_role("heading", name=SHOWN[name]).evaluate(
                    "it => { it.scrollIntoView({block: 'start'}); scrollBy(0, -80); }"
                )
            page.screenshot(path=folder / f"{name}-{width}-{theme}.png")


def operate(page: Page, base: str, folder: Path) -> None:
    """Rotate a key, revoke everything behind a server, and look at how a file would name a secret instead."""
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
    page.emulate_media(color_scheme="light", reduced_motion="reduce")

    def shoot(name: str) -> None:
        page.wait_for_load_state("load")
        page.screenshot(path=folder / f"{name}-{WIDE[0]}-light.png")

    page.goto(f"{base}/upcoming-rotations/?overdue=false")
    shoot("upcoming")
    page.goto(f"{base}/exposures/")
    page.locator(f"tr:has([title*='{HARD_CODED}'])").get_by_role("link", name="Replace").first.click()
    page.get_by_label("Reference", exact=False).first.fill(REFERENCE)
    page.get_by_role("button", name="Show what would change").click()
    shoot("replace")

    rotation = rotation_of(page, base)
    page.goto(rotation)
    page.locator("[aria-current=step]", has_text="Overlap").wait_for(timeout=PATIENCE * 1_000)
    shoot("rotation-overlap")

    page.goto(f"{base}/batches/new/?q={REVOKED}")
    page.locator("tr", has_text="Server").get_by_role("link", name=REVOKED, exact=True).click()
    shoot("kill-switch-preview")
    page.get_by_role("link", name=re.compile("^Revoke \\d+")).click()
    page.get_by_label("Reason").fill("Its tokens were posted in a public channel")
    page.get_by_role("button", name=re.compile("^Revoke \\d+")).click()
    page.locator("#batch-progress").wait_for()
    batch = page.url
    page.goto(f"{base}/operations/?is_open=true")
    page.locator("tbody tr").first.wait_for()
    shoot("operations")
    page.goto(batch)
    page.locator("#batch-progress .state.good", has_text="Completed").wait_for(timeout=PATIENCE * 1_000)
    page.reload()
    shoot("kill-switch")

    page.goto(rotation)
    page.get_by_role("heading", level=1).get_by_text("Completed").wait_for(timeout=4 * PATIENCE * 1_000)
    page.reload()
    shoot("rotation")


def review(page: Page, link: str, folder: Path) -> None:
    """Decide in the quarter's review as its reviewer, from the keyboard, and submit."""
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.context.clear_cookies()
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_load_state("load")
    base = link.partition("/sign-in/")[0]
    press = page.keyboard.press

    def shoot(name: str, size: tuple[int, int] = WIDE) -> None:
        page.wait_for_load_state("load")
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.screenshot(path=folder / f"{name}-{size[0]}-light.png")
        page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})

    for name, path, followed in ASSURANCE:
        page.goto(base + path)
        if followed:
            page.locator("tbody .name", has_text=followed).first.click()
            page.get_by_role("heading", level=1, name=followed).wait_for()
        while name == "evidence" and not page.get_by_role("link", name="Download", exact=True).count():
            page.wait_for_timeout(1_000)  # a worker builds it within a minute
            page.reload()
        shoot(name)
    page.goto(f"{base}/reviews/")
    page.locator("tbody .name").first.click()
    page.locator("#sitting-progress").wait_for()
    sitting = page.url
    page.wait_for_load_state("load")
    press("j")
    for number in range(6):  # as recommended; what is to be rotated nobody delivers here, so it is kept with a reason
        is_revoked = number < 2
        press("3" if is_revoked else "1")
        made = page.locator(f"#sitting-progress:has-text('{number + 1} decided')")
        page.locator("dialog[open]").or_(made).first.wait_for()
        if page.locator("dialog[open]").count():
            page.keyboard.type("Nobody needs it." if is_revoked else "Its team rotates it by hand on Monday.")
            press("Enter")
        made.wait_for()
    shoot("sitting")
    shoot("sitting", NARROW)
    page.goto(f"{sitting.partition('?')[0]}?q=aws-ops")
    page.locator("tbody .name").first.click()
    page.get_by_role("heading", name="Where it can be cut").wait_for()
    shoot("review-item")
    page.goto(sitting)
    page.wait_for_load_state("load")
    press("S")
    page.locator("dialog[open]").get_by_text("Stops working").wait_for()
    shoot("review-submit")
    press("Tab")
    press("Enter")
    page.get_by_text("6 decisions submitted").wait_for()


def sign_in_link(environment: dict[str, str], who: str) -> str:
    command = [sys.executable, "-W", "ignore", "-m", "demo", "sign_in_link", who]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


def rotation_of(page: Page, base: str) -> str:
    """The address of the rotation that the schedule begins within five minutes."""
    for _ in range(2 * PATIENCE):
        page.goto(f"{base}/operations/?is_open=true&kind=rotation")
        begun = page.locator("tbody th a", has_text=ROTATED)
        if begun.count():
            return f"{base}{begun.first.get_attribute('href')}"
        page.wait_for_timeout(1_000)
    raise SystemExit("The schedule has not begun the rotation.")


def main(folder: Path, *, only: str = "") -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("Chromium is not installed; it is Debian's package chromium.")
    folder.mkdir(parents=True, exist_ok=True)
    for old in () if only else folder.glob("*.png"):
        old.unlink()
    with running() as (link, environment), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(link)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_load_state("networkidle")
        base = link.partition("/sign-in/")[0]
        if not only:
            photograph(page, base, folder)
        if only != "reviews":
            operate(page, base, folder)
        if only != "operations":
            review(page, sign_in_link(environment, "mira"), folder)
        browser.close()


if __name__ == "__main__":
    given = [each for each in sys.argv[1:] if not each.startswith("--")]
    main(
        Path(given[0]) if given else ROOT / "docs" / "screenshots",
        only=next((each.removeprefix("--") for each in sys.argv[1:] if each in {"--operations", "--reviews"}), ""),
    )
