"""What the pages of findings answer to addresses and forms that make no sense."""

import pytest

from access.roles import Role
from tests.people import browser

pytestmark = pytest.mark.django_db


def test_acknowledging_what_is_no_finding_leads_back_to_the_list() -> None:
    answer = browser(Role.REVIEWER).post("/findings/acknowledge/", {"id": "x", "from": "detail"})
    assert answer.status_code == 302
    assert answer["Location"] == "/findings/"
