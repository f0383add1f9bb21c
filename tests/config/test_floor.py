"""What browsers are told behind TLS, with the settings of a deployment, in a process that has read them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

pytestmark = pytest.mark.django_db

CODE = """
import json, django
django.setup()
from django.conf import settings
from django.test import Client
settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
client = Client(SERVER_NAME="keyreeve.example.org")
told = {}
for path in ("/account/login/", "/nothing/", "/healthz", "/api/v1/credentials/", "/static/keyreeve.css"):
    answer = client.get(path, secure=True)
    told[path] = {
        "status": answer.status_code,
        "headers": dict(answer.items()),
        "cookies": {name: dict(cookie) for name, cookie in answer.cookies.items()},
    }
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """By address, what a browser behind the proxy gets."""
    known = connection.settings_dict
    statics = tmp_path_factory.mktemp("static")
    (statics / "keyreeve.css").write_text((Path(settings.BASE_DIR) / "static" / "keyreeve.css").read_text())
    environment = {
        **os.environ,
        "DATABASE_URL": f"postgresql://postgres@/{known['NAME']}?host={known['HOST']}",
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "KEYREEVE_HTTPS": "1",
        "KEYREEVE_HOSTS": "keyreeve.example.org",
        "KEYREEVE_STATIC_ROOT": str(statics),
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE],
        cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_answer_says_what_a_browser_may_do_with_it(told: dict[str, Any]) -> None:
    assert told["/static/keyreeve.css"]["status"] == 200
    for path, answer in told.items():
        headers = answer["headers"]
        assert headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains", path
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["Referrer-Policy"] == "same-origin", path
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin", path
        policy = dict(each.strip().partition(" ")[::2] for each in headers["Content-Security-Policy"].split(";"))
        assert (
            policy["default-src"] == policy["object-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
        )
        assert policy["script-src"] == policy["style-src"] == "'self'", path
        assert "unsafe" not in headers["Content-Security-Policy"], path


def test_each_cookie_belongs_to_this_host_alone_and_to_no_script(told: dict[str, Any]) -> None:
    cookies = {name: cookie for answer in told.values() for name, cookie in answer["cookies"].items()}
    assert set(cookies) == {"__Host-csrf"}
    for cookie in cookies.values():
        assert (cookie["secure"], cookie["httponly"], cookie["path"], cookie["domain"]) == (True, True, "/", "")
        assert cookie["samesite"] == "Strict"


def test_nobody_is_told_what_serves(told: dict[str, Any]) -> None:
    assert not {"Server", "X-Powered-By"} & {name for answer in told.values() for name in answer["headers"]}
