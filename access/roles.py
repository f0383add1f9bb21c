"""The roles, and what holding one allows."""

from enum import StrEnum


class Role(StrEnum):
    ADMINISTRATOR = "administrator"
    OPERATOR = "operator"
    REVIEWER = "reviewer"
    OWNER = "owner"
    AUDITOR = "auditor"
    AUTOMATION = "automation"


# A role stands for itself and for the roles behind it. An owner sees only what they answer for,
# so no wider role implies it and it implies none.
IMPLIED: dict[Role, frozenset[Role]] = {
    Role.ADMINISTRATOR: frozenset({Role.OPERATOR, Role.REVIEWER, Role.AUDITOR, Role.AUTOMATION}),
    Role.OPERATOR: frozenset({Role.REVIEWER, Role.AUDITOR}),
    Role.REVIEWER: frozenset({Role.AUDITOR}),
    Role.AUTOMATION: frozenset({Role.AUDITOR}),
    Role.AUDITOR: frozenset(),
    Role.OWNER: frozenset(),
}


def held(roles: frozenset[Role]) -> frozenset[Role]:
    """`roles` and everything they imply."""
    return roles.union(*(IMPLIED[role] for role in roles))
