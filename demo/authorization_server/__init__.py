"""The demo company's authorization server: a project of its own around django-oauth-toolkit, on SQLite.

    python -m demo.authorization_server --data FOLDER [--port N] [--lax] [--resource URL …]

serves http://127.0.0.1:N with dynamic registration (RFC 7591, 7592), metadata (RFC 8414), revocation (RFC 7009),
introspection (RFC 7662), the device flow (RFC 8628), OpenID Connect, and the listing of clients and tokens that
Keyreeve documents because no standard has one. Everything in it can be used for real; all secrets are made at the
first start and lie in files of FOLDER that only their owner reads.
"""
