"""What the demo directory says of people who sign in: their verified address, and the groups they are in."""

from collections.abc import Callable
from typing import Any, ClassVar

from oauth2_provider.oauth2_validators import OAuth2Validator

OPERATORS = {"mira", "ana"}
REVIEWERS = {"jonas"}


def groups_of(name: str) -> list[str]:
    return [
        "everybody",
        *(["keyreeve-operators"] if name in OPERATORS else []),
        *(["keyreeve-reviewers"] if name in REVIEWERS else []),
    ]


class WithGroups(OAuth2Validator):  # type: ignore[misc]  # the library has no types
    oidc_claim_scope: ClassVar = {
        **OAuth2Validator.oidc_claim_scope, "email": "email", "email_verified": "email",
        "preferred_username": "openid", "groups": "groups",
    }  # fmt: skip

    def get_additional_claims(self) -> dict[str, Callable[[Any], Any]]:
        return {
            "email": lambda request: request.user.email,
            "email_verified": lambda _: True,
            "preferred_username": lambda request: request.user.username,
            "groups": lambda request: groups_of(request.user.username),
        }
