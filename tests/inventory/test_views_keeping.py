"""Confirming that credentials are still needed, and tagging them."""

from datetime import timedelta

import pytest
from django.utils import timezone

from access.actors import Actor, ActorKind
from access.roles import Role
from audit.events import Event
from audit.models import AuditEntry
from inventory.actions.confirmation import confirm_credentials
from inventory.actions.tags import tag_credentials
from inventory.errors import HasEnded, NothingChosen, TooManyTags
from inventory.models import Credential
from inventory.states import CredentialStatus
from inventory.tags import MOST, as_tag, is_tag, tags_of
from lifecycle.models import Policy
from tests import factories
from tests.factories import NOW
from tests.people import browser, owners_browser, text

CONFIRM, TAG = "/credentials/confirm/", "/credentials/tag/"
REVIEWER = Actor(ActorKind.USER, "7", "Mira Okafor", frozenset({Role.REVIEWER}), user_id=None)


# ── Tags, without a database ───────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("name", "value", "tag"),
    [
        ("Team", "Payments", "team:payments"),
        ("Cost Center", "R&D", "cost-center:r-d"),
        ("prod", "", "prod"),
        ("…", "№", ""),
        ("k" * 80, "v", "k" * 60),
    ],
)
def test_a_providers_label_becomes_a_tag(name, value, tag):
    assert as_tag(name, value) == tag
    assert not tag or is_tag(tag)


def test_of_many_labels_as_many_become_tags_as_a_credential_may_have():
    assert len(tags_of((f"n{n}", "") for n in range(50))) == MOST


# ── Confirming ─────────────────────────────────────────────────────────────────────────────────
@pytest.mark.django_db
def test_a_confirmation_is_kept_with_its_name_and_reason():
    row = factories.credential()
    assert confirm_credentials([row.pk], actor=REVIEWER, now=NOW, reason="nightly export") == 1
    row.refresh_from_db()
    assert (row.reviewed_at, row.reviewed_by) == (NOW, "Mira Okafor")
    entry = AuditEntry.objects.get(event=Event.CREDENTIAL_CONFIRMED)
    assert entry.subject_id == str(row.pk)
    assert entry.detail == {"confirmed_as": "reviewer", "last_confirmed_at": None, "reason": "nightly export"}


@pytest.mark.django_db
@pytest.mark.parametrize("ended", [{"status": CredentialStatus.DESTROYED}, {"gone_at": NOW, "last_seen_at": NOW}])
def test_when_one_has_ended_none_is_confirmed(ended):
    rows = [factories.credential(), factories.credential(**ended)]
    with pytest.raises(HasEnded):
        confirm_credentials([row.pk for row in rows], actor=REVIEWER, now=NOW, reason="nightly export")
    assert not Credential.objects.exclude(reviewed_at=None).exists()
    assert not AuditEntry.objects.filter(event=Event.CREDENTIAL_CONFIRMED).exists()


@pytest.mark.django_db
def test_an_owner_confirms_what_is_theirs_and_the_entry_says_so():
    mine, me = owners_browser()
    row = factories.credential(owner=me)
    answer = mine.post(CONFIRM, {"decided": "yes", "id": str(row.pk), "reason": "nightly export"}, follow=True)
    assert "You confirmed that 1 credential is needed." in text(answer)
    row.refresh_from_db()
    assert timezone.now() - row.reviewed_at < timedelta(minutes=1)
    assert AuditEntry.objects.get(event=Event.CREDENTIAL_CONFIRMED).detail["confirmed_as"] == "owner"


@pytest.mark.django_db
@pytest.mark.parametrize("path", [CONFIRM, TAG])
def test_of_mine_and_a_foreign_one_an_owner_changes_neither(path):
    mine, me = owners_browser()
    rows = [factories.credential(owner=me), factories.credential(custodian=me)]
    given = {"decided": "yes", "id": [str(row.pk) for row in rows], "reason": "needed", "add": "pci"}
    assert mine.post(path, given).status_code == 404
    assert not Credential.objects.exclude(tags=[], reviewed_at=None).exists()


@pytest.mark.django_db
def test_nobody_confirms_what_they_do_not_answer_for():
    somebody = Actor(ActorKind.USER, "9", "Ana Duarte", frozenset({Role.OWNER}), user_id=None)
    with pytest.raises(NothingChosen):
        confirm_credentials([factories.credential().pk], actor=somebody, now=NOW, reason="needed")


@pytest.mark.django_db
def test_a_confirmation_says_what_the_credential_is_needed_for():
    answer = browser(Role.REVIEWER).post(CONFIRM, {"decided": "yes", "id": str(factories.credential().pk)})
    assert answer.status_code == 422
    assert "Say what it is needed for." in text(answer)


# ── Tagging ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.django_db
def test_tags_are_given_and_taken_with_one_entry_for_each_that_changed():
    rows = [factories.credential(tags=tags) for tags in (["old"], ["old", "pci"], ["pci"])]
    given = {"decided": "yes", "id": [str(row.pk) for row in rows], "add": "PCI, team:payments", "remove": "old"}
    answer = browser(Role.REVIEWER).post(TAG, given, follow=True)
    assert "The tags of 3 credentials changed." in text(answer)
    assert {tuple(row.tags) for row in Credential.objects.all()} == {("pci", "team:payments")}
    details = list(AuditEntry.objects.filter(event=Event.CREDENTIAL_TAGS_CHANGED).values_list("detail", flat=True))
    assert {"added": ["team:payments"], "removed": []} in details
    assert len(details) == 3


@pytest.mark.django_db
def test_an_owner_chooses_by_no_tag_what_is_asked_of_theirs():
    Policy.objects.create(name="Cards", priority=1, tags=["pci"])
    mine, me = owners_browser()
    row = factories.credential(owner=me, tags=["pci"])
    answer = mine.post(TAG, {"decided": "yes", "id": str(row.pk), "add": "quiet", "remove": "pci"})
    assert "only reviewers give it or take it away" in text(answer)
    mine.post(TAG, {"decided": "yes", "id": str(row.pk), "add": "quiet"})
    tag_credentials(Credential.objects.all(), add=["team:a"], remove=["pci"], actor=REVIEWER)
    assert Credential.objects.get().tags == ["quiet", "team:a"]


@pytest.mark.django_db
def test_when_one_would_have_too_many_tags_none_is_tagged():
    full = [f"t{n:02}" for n in range(MOST)]
    factories.credential(), factories.credential(tags=full)
    with pytest.raises(TooManyTags):
        tag_credentials(Credential.objects.all(), add=["pci"], remove=[], actor=REVIEWER)
    assert sorted(map(len, Credential.objects.values_list("tags", flat=True))) == [0, MOST]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"add": "größe"}, "A tag is of lower-case letters"),
        ({"add": "x" * 61}, "at most 60"),
        ({"add": " ".join(f"t{n}" for n in range(21))}, "at most 20 tags"),
        ({}, "Give a tag to add or to take away."),
        ({"add": "a", "remove": "a"}, "Add a or take it away, not both."),
    ],
)
def test_what_is_no_tag_is_refused_in_a_sentence(given, complaint):
    answer = browser(Role.REVIEWER).post(TAG, {"decided": "yes", "id": str(factories.credential().pk), **given})
    assert answer.status_code == 422
    assert complaint in text(answer)


@pytest.mark.django_db
def test_the_list_is_narrowed_by_a_tag_and_the_page_shows_it():
    row = factories.credential(name="tagged one", tags=["team:payments"])
    factories.credential(name="another one", tags=["team:other"])
    reader = browser(Role.AUDITOR)
    page = text(reader.get("/credentials/?tag=team:payments"))
    assert "tagged one" in page
    assert "another one" not in page
    assert "?tag=team%3Apayments" in text(reader.get(f"/credentials/{row.pk}/"))
