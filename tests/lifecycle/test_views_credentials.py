"""A credential's own page, whatever is known of it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from access.roles import Role
from tests import factories
from tests.factories import NOW
from tests.people import browser

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"gone_at": NOW, "last_seen_at": NOW},
        {"issued_at": None},
        {"issued_at": datetime(1, 1, 1, tzinfo=UTC), "expires_at": datetime(9999, 12, 31, tzinfo=UTC)},
    ],
    ids=["not yet evaluated", "gone", "of unknown age", "with impossible dates"],
)
def test_a_credential_has_a_page_before_it_is_evaluated_and_after_it_is_gone(values: dict[str, Any]) -> None:
    mine = factories.credential(**values)
    assert browser(Role.AUDITOR).get(f"/credentials/{mine.pk}/").status_code == 200
