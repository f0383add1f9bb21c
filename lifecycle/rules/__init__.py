"""The rules as declarations, grouped by subject. `docs/rules.md` says what each of them means."""

from lifecycle.rules.clients import CLIENT_RULES
from lifecycle.rules.connections import CONNECTION_RULES
from lifecycle.rules.credentials import CREDENTIAL_RULES
from lifecycle.rules.declaration import Evidence, Rule, Subject
from lifecycle.rules.jobs import JOB_RULES
from lifecycle.rules.servers import SERVER_RULES

RULES: dict[str, Rule] = {
    rule.slug: rule for rule in (*CREDENTIAL_RULES, *SERVER_RULES, *CLIENT_RULES, *CONNECTION_RULES, *JOB_RULES)
}

__all__ = ["RULES", "Evidence", "Rule", "Subject"]
