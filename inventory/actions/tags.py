"""What credentials are tagged as. Feeds and providers add tags too (`reconcile`); people alone take them away."""

from collections.abc import Collection

from django.db.models import QuerySet

from access.actors import Actor
from access.rights import Right
from audit.actions import action, record
from audit.events import Event
from inventory.actions.ownership import chosen
from inventory.errors import TagDecides, TooManyTags
from inventory.models import Credential
from inventory.signals import tagging
from inventory.tags import MOST


@action
def tag_credentials(
    credentials: QuerySet[Credential], *, add: Collection[str], remove: Collection[str], actor: Actor
) -> int:
    """Give `credentials` the tags in `add` and take away those in `remove`; how many changed. One entry for each.

    All or none: raises TooManyTags when one of them would have more than it may, and TagDecides for a tag that only
    a reviewer gives or takes away.
    """
    changed = []
    held = (
        set()
        if actor.may_everywhere(Right.KEEP)
        else {tag for _, tags in tagging.send(Credential) for tag in tags or ()}
    )
    for row in chosen(credentials, actor):
        gained = sorted(set(add) - set(row.tags))
        lost = sorted(set(remove) & set(row.tags))
        if not gained and not lost:
            continue
        if decisive := held & {*gained, *lost}:
            raise TagDecides(min(decisive))
        row.tags = sorted((set(row.tags) | set(gained)) - set(lost))
        if len(row.tags) > MOST:
            raise TooManyTags(row)
        changed.append(row)
        record(Event.CREDENTIAL_TAGS_CHANGED, actor=actor, subject=row, detail={"added": gained, "removed": lost})
    Credential.objects.bulk_update(changed, ["tags"], batch_size=1_000)
    return len(changed)
