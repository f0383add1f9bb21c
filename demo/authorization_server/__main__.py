"""Start the demo authorization server and say, in one line of JSON, where everything is; never a secret itself."""

import argparse
import errno
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import django
from django.core.management import call_command
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application

RESOURCES = [f"https://mcp.halden.example/{name}" for name in ("github", "billing", "tickets")]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.authorization_server", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder for the database and the secrets")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--lax", action="store_true", help="offer what the best current practice forbids")
    parser.add_argument("--resource", action="append", help="an MCP server that tokens are for; may be repeated")
    arguments = parser.parse_args()
    folder = arguments.data.resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The port is taken before anything is prepared, so that nobody else can take it in between.
    try:
        server = ThreadedWSGIServer(("127.0.0.1", arguments.port), WSGIRequestHandler)
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE:
            raise
        sys.exit(f"Port {arguments.port} is taken: start the authorization server with another --port.")
    issuer = f"http://127.0.0.1:{server.server_port}"
    os.environ.update(
        DJANGO_SETTINGS_MODULE="demo.authorization_server.settings",
        DEMO_AUTHORIZATION_SERVER_FOLDER=str(folder),
        DEMO_AUTHORIZATION_SERVER_ISSUER=issuer,
        DEMO_AUTHORIZATION_SERVER_LAX="1" if arguments.lax else "0",
        DEMO_AUTHORIZATION_SERVER_RESOURCES=" ".join(arguments.resource or RESOURCES),
    )
    django.setup()
    call_command("migrate", verbosity=0)
    call_command("seed_authorization_server")
    server.set_app(get_wsgi_application())
    server.daemon_threads = True
    sys.stdout.write(json.dumps(places(folder, issuer)) + "\n")
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, stop)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return


def stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def places(folder: Path, issuer: str) -> dict[str, Any]:
    """Addresses, and the files that hold what is needed to use them."""
    files = {path.name: str(path) for path in sorted((folder / "secrets").iterdir()) if path.is_file()}

    def named(prefix: str) -> dict[str, str]:
        return {name.removeprefix(prefix): path for name, path in files.items() if name.startswith(prefix)}

    return {
        "issuer": issuer,
        "port": int(issuer.rpartition(":")[2]),
        "clients_url": f"{issuer}/manage/clients",
        "tokens_url": f"{issuer}/manage/tokens",
        "registration_endpoint": f"{issuer}/register/",
        "introspection_client_id": "keyreeve",
        "files": {
            "management_token": files["management_token"],
            "introspection_secret": files["client_secret_keyreeve"],
            "user_password": files["user_password"],
        },
        "client_secrets": named("client_secret_"),
        "tokens": named("token_"),
        "registrations": str(folder / "secrets" / "registrations"),  # one file a client id
    }


if __name__ == "__main__":
    main()
