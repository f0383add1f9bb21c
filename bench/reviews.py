"""Reviews: how long the launch of a campaign takes, its pages, and what is done to many of its items by the clock."""

from collections.abc import Iterator
from datetime import timedelta

from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from access.actors import Actor
from access.models import User
from access.roles import Role
from bench.evaluation import ESTATE, NOW
from bench.lists import browser
from bench.measure import Row, percentile, timed
from bench.scratch import scratch_database
from config.statics import ensure_collected
from inventory.models import Connection, Credential, Owner
from lifecycle.actions.evaluation import evaluate
from reviews.actions.approvals import bind
from reviews.actions.campaigns import create_campaign, launch
from reviews.actions.closing import follow
from reviews.actions.escalation import act_on_unanswered, escalate_unanswered, pass_on_departed
from reviews.actions.signing import digest_of
from reviews.models import Campaign, ReviewItem
from reviews.models.approvals import changed_since
from reviews.models.preview import preview

ACTOR = Actor.system("benchmark")
LAUNCH_BUDGET = 30.0  # seconds for 100 000 items
SWEEP_BUDGET = 10.0
PAGE_BUDGET, PAGE_QUERIES = 100.0, 12  # milliseconds of server time, p95
REPEATS, WARM = 20, 3
SITTING = 200  # items that one reviewer has to decide
DUE = NOW + timedelta(days=30)

# By hand, in the shortest way: the rows with the names beside them, what each is used by, and the findings counted.
BARE = """
CREATE TEMP TABLE bare ON COMMIT DROP AS
SELECT to_jsonb(c) AS row, o.name AS owner, e.name AS environment, u.clients, u.servers, f.number
FROM inventory_credential c
LEFT JOIN inventory_owner o ON o.id = c.owner_id LEFT JOIN inventory_environment e ON e.id = c.environment_id
LEFT JOIN (SELECT credential_id, array_agg(DISTINCT client_id) AS clients, array_agg(DISTINCT server_id) AS servers
  FROM inventory_use WHERE gone_at IS NULL GROUP BY 1) u ON u.credential_id = c.id
LEFT JOIN (SELECT credential_id, count(*) AS number FROM lifecycle_finding WHERE resolved_at IS NULL GROUP BY 1) f
  ON f.credential_id = c.id
"""


def run(size: int = 100_000) -> list[Row]:
    ensure_collected()
    return list(_run(size))


def _run(size: int) -> Iterator[Row]:
    with scratch_database():
        with connection.cursor() as cursor:
            cursor.execute(ESTATE, {"size": size, "now": NOW})
        Connection.objects.update(kind="aws", last_complete_at=NOW)
        evaluate(NOW, actor=ACTOR)
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")  # as the database does by itself with an estate that stands
        draft = create_campaign(actor=ACTOR, now=NOW, name="Everything", reviewed=["credential"], due_at=DUE, decoys=2)
        with transaction.atomic(), connection.cursor() as cursor, timed() as limit:
            cursor.execute(BARE)
        with timed() as watch:
            preview(draft, now=NOW)
        yield _row("reviews: preview", size, watch.seconds, SWEEP_BUDGET)
        with timed() as watch:
            campaign = launch(draft, actor=ACTOR, now=NOW)
        yield _row("reviews: launch", size, watch.seconds, LAUNCH_BUDGET, limit.seconds)
        yield from _pages(campaign, size)
        yield from _by_the_clock(campaign, size)


def _pages(campaign: Campaign, size: int) -> Iterator[Row]:
    """As a reviewer sees them who has a long sitting ahead."""
    reviewer = browser(Role.REVIEWER)
    owner = Owner.objects.filter(is_active=True).order_by("id")[0]
    Owner.objects.filter(pk=owner.pk).update(user=User.objects.get(username__endswith=Role.REVIEWER))
    theirs = list(ReviewItem.objects.order_by("id").values_list("pk", flat=True)[: size : max(1, size // SITTING)])
    ReviewItem.objects.filter(pk__in=theirs).update(reviewer=owner, first_chain=[owner.pk])
    for name, url in (
        ("campaigns", "/campaigns/"),
        ("campaign", f"/campaigns/{campaign.pk}/"),
        ("my reviews", "/reviews/"),
        ("a sitting", f"/reviews/{campaign.pk}/"),
        ("an item", f"/reviews/items/{theirs[0]}/"),
    ):
        taken = []
        for _ in range(WARM + REPEATS):
            with timed() as watch:
                answer = reviewer.get(url)
            assert answer.status_code == 200, f"{url} answered {answer.status_code}."
            taken.append(watch.seconds * 1_000)
        with CaptureQueriesContext(connection) as asked:
            reviewer.get(url)
        value = percentile(taken[WARM:], 0.95)
        yield {
            "name": f"reviews: page of {name}",
            "size": size,
            "value": round(value, 1),
            "unit": "ms",
            "limit": None,
            "ratio": None,
            "budget": f"at most {PAGE_BUDGET:g} ms, {len(asked)} of at most {PAGE_QUERIES} queries",
            "ok": value <= PAGE_BUDGET and len(asked) <= PAGE_QUERIES,
        }


def _by_the_clock(campaign: Campaign, size: int) -> Iterator[Row]:
    with timed() as watch:
        follow(now=NOW)
        pass_on_departed(now=NOW)
        escalate_unanswered(now=NOW)
    yield _row("reviews: sweep with nothing to do", size, watch.seconds, 1.0)
    with timed() as watch:
        escalate_unanswered(now=DUE)
    yield _row("reviews: escalate all", size, watch.seconds, LAUNCH_BUDGET)
    with timed() as watch:
        digest_of(campaign)
    yield _row("reviews: digest", size, watch.seconds, SWEEP_BUDGET)
    with transaction.atomic():
        bind(list(ReviewItem.objects.filter(campaign=campaign)), now=NOW)
    Credential.objects.filter(name__endswith="7").update(scopes=["admin:*"])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    with timed() as watch:
        changed_since("credential", now=NOW)
    yield _row("reviews: lapsed approvals", size, watch.seconds, LAUNCH_BUDGET)
    Campaign.objects.update(no_answer="revoke")
    with timed() as watch:
        act_on_unanswered(now=DUE + timedelta(days=60))
    yield _row("reviews: answer all by the clock", size, watch.seconds, LAUNCH_BUDGET)


def _row(name: str, size: int, seconds: float, most: float, limit: float | None = None) -> Row:
    return {
        "name": name,
        "size": size,
        "value": round(seconds, 3),
        "unit": "s",
        "limit": round(limit, 3) if limit else None,
        "ratio": round(seconds / limit, 2) if limit else None,
        "budget": f"at most {most:g} s for 100 000 items",
        "ok": seconds <= most * max(1, size / 100_000),
    }
