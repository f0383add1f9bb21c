"""Take the pictures of the docs: start Keyreeve over the demo estate, sign in by its link, photograph the pages.

    python docs/screenshots.py [FOLDER]

Needs Chromium. Everything runs in a temporary home and is gone afterwards.
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
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from demo.estate import write  # noqa: E402  the project is no installed package

PAGES = {
    "overview": "/",
    "credentials": "/credentials/",
    "findings": "/findings/?state=open&state=acknowledged",
}
SIZES = {1440: 900, 390: 844}
PATIENCE = 120  # seconds


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running() -> Iterator[str]:
    """Keyreeve over the demo estate; gives the one-time link."""
    folder = Path(tempfile.mkdtemp(prefix="krp-", dir="/tmp"))
    folder.chmod(0o755)
    machine = folder / "halden"
    write(machine, now=datetime.now(tz=UTC))
    environment = {
        **os.environ,
        "KEYREEVE_HOME": str(folder / "home"),
        "KEYREEVE_MACHINE_HOME": str(machine),
        "KEYREEVE_PORT": str(free_port()),
        "KEYREEVE_ESTATE_NAME": "Halden Freight",
    }
    log = folder / "up.log"

    def manage(*arguments: str) -> None:
        subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, env=environment, check=True)

    with log.open("w") as out:
        command = [sys.executable, "manage.py", "up"]
        up = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        link = link_in(log, up)
        manage("sync", "--add", str(machine / "src"))
        manage("shell", "-v", "0", "-c", "from demo.company import populate; populate()")
        yield link
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(PATIENCE)
        shutil.rmtree(folder, ignore_errors=True)


def link_in(log: Path, up: subprocess.Popen[bytes]) -> str:
    for _ in range(PATIENCE * 5):
        found = re.search(r"http://\S+/sign-in/\?user=\d+&key=[\w-]+", log.read_text())
        if found:
            return found[0]
        try:
            up.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
        raise SystemExit(f"Keyreeve did not start:\n{log.read_text()}")
    raise SystemExit(f"No sign-in link within {PATIENCE} s:\n{log.read_text()}")


def photograph(page: Page, base: str, folder: Path) -> None:
    page.goto(f"{base}/credentials/?q=github-prod")
    one = page.locator("tbody .name").first.get_attribute("href") or "/"
    for name, path in {**PAGES, "credential": one}.items():
        for width, height in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            for theme in ("light", "dark"):
                page.emulate_media(color_scheme=theme)
                page.goto(base + path)
                page.wait_for_load_state("networkidle")
                page.screenshot(path=folder / f"{name}-{width}-{theme}.png")


def main(folder: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("Chromium is not installed; it is Debian's package chromium.")
    folder.mkdir(parents=True, exist_ok=True)
    with running() as link, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(link)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_load_state("networkidle")
        photograph(page, link.partition("/sign-in/")[0], folder)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "screenshots")
