"""Made-up requests break nothing and bring nothing to light: `make fuzz` sends twenty thousand, the suite a few.

`KEYREEVE_FUZZ=NUMBER` sends so many, and `KEYREEVE_FUZZ_SEED` makes up others.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator

import pytest
from django.conf import settings as configured
from django.db import transaction
from django.test import Client

from access.models import ApiToken, User
from access.roles import Role
from inventory.models import Owner
from tests.access.estates import things, token_browser
from tests.api.fuzzing import Caller, Fault, Fuzzer, faults_of
from tests.people import browser, person

logger = logging.getLogger("fuzz")
REQUESTS = int(os.environ.get("KEYREEVE_FUZZ", "400"))
SEED = int(os.environ.get("KEYREEVE_FUZZ_SEED", "1"))
MINE, FOREIGN = "qzmineqz", "qzforeignqz"


@pytest.fixture(autouse=True)
def unhurried(settings) -> Iterator[None]:
    settings.API_BUDGETS = dict.fromkeys(settings.API_BUDGETS, 0)
    loggers = [logging.getLogger(name) for name in ("django", "web", "config")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def secrets() -> dict[str, str]:
    """What stands in the database or the settings and in no answer."""
    hidden = {configured.SECRET_KEY: "the key that signs", configured.FINGERPRINT_KEY.decode(): "the fingerprints' key"}
    for user in User.objects.filter(password__contains="$"):
        hidden[user.password] = f"the password hash of {user}"
    for token in ApiToken.objects.all():
        hidden[token.digest] = f"the digest of the token {token.name}"
    return hidden


def callers() -> tuple[list[Caller], list[str]]:
    """Everybody who may come, and the ids of what there is. An owner may read nothing of the other one's."""
    mine, theirs = things(MINE), things(FOREIGN)
    clerk = person(Role.OWNER)
    clerk.set_password("Tern-gravel-91-lantern")
    clerk.save()
    hidden = secrets()
    # Whoever hands something over chooses from all owners by name, and that is all they are told of one.
    Owner.objects.filter(pk=theirs.owner.pk).update(name="Somebody else", email="else@halden.example")
    hidden_rows = {noun: row for noun, row in theirs.rows.items() if noun not in {"audit", "owners"}}
    foreign = {FOREIGN: "something of another owner's"}
    foreign |= {str(row.pk): f"the id of another owner's {noun}" for noun, row in hidden_rows.items()}
    foreign = {text: what for text, what in foreign.items() if len(text) > 8}
    made = [
        Caller("an owner", mine.browser(), {**hidden, **foreign}),
        Caller("an auditor", browser(Role.AUDITOR), hidden),
        Caller("an operator", browser(Role.OPERATOR), hidden),
        Caller("an administrator", browser(Role.ADMINISTRATOR), hidden),
        Caller("an administrator's program", token_browser(Role.ADMINISTRATOR), hidden),
        Caller("an owner of nothing", browser(Role.OWNER), {**hidden, **foreign, MINE: "something of an owner's"}),
        Caller("somebody without a role", browser(), {**hidden, **foreign}),
        Caller("a stranger", Client(), {**hidden, **foreign}),
    ]  # fmt: skip
    for caller in made:
        caller.client.raise_request_exception = False
    ids = [str(row.pk) for each in (mine, theirs) for row in each.rows.values()]
    return made, [*ids, "00000000-0000-7000-8000-000000000000", "1", "stale", "credential", "feed"]


@pytest.mark.django_db
def test_made_up_requests_break_nothing_and_bring_nothing_to_light():
    people, ids = callers()
    fuzzer, faults, statuses = Fuzzer(SEED, ids), [], Counter()
    for number in range(REQUESTS):
        rng, asked = fuzzer.request(number)
        caller = rng.choices(people, weights=(5, 3, 2, 4, 4, 1, 1, 1))[0]
        cookies = caller.client.cookies.copy()
        with transaction.atomic():  # so that each request finds the estate as it was made
            answer = caller.client.generic(**asked)
            found, text = faults_of(answer, caller, asked)
            transaction.set_rollback(True)
        caller.client.cookies = cookies
        if answer.status_code == 200 and "html" in answer.headers.get("Content-Type", ""):
            fuzzer.learn(text)
        statuses[answer.status_code] += 1
        for what in found:
            faults.append(Fault(SEED, number, caller.name, repr(asked)[:900], what))
            logger.warning("%s", faults[-1])
    logger.warning("Statuses: %s", dict(sorted(statuses.items())))
    assert "\n".join(map(str, faults)) == ""
    assert statuses[200] > REQUESTS / 20


@pytest.mark.django_db
@pytest.mark.parametrize("header", ["HX-Current-URL", "Referer"])
def test_a_page_that_cannot_be_the_one_somebody_came_from_is_not_led_back_to(header: str):
    answer = browser(Role.OPERATOR).post("/credentials/assign-owner/", headers={header: "http://["})
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/credentials/"
