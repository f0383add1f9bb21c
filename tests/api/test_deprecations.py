"""What will go is said by the answers that come by it and by the OpenAPI document, from one table."""

from datetime import date
from email.utils import parsedate_to_datetime

import pytest
from drf_spectacular.generators import SchemaGenerator

from tests.api.conftest import Caller
from web import deprecations
from web.deprecations import NOTICE, Deprecation

SINCE, SUNSET = date(2027, 1, 1), date(2027, 12, 31)


@pytest.fixture
def leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a release would declare it: a noun goes, and of another one a filter."""
    table = [
        Deprecation("uses", SINCE, SUNSET, successor="credentials/"),
        Deprecation("owners", SINCE, date(2028, 1, 1), parameter="email", successor="q"),
    ]
    monkeypatch.setattr(deprecations, "DEPRECATIONS", table)


@pytest.mark.parametrize(
    "path", ["uses/", "uses/?gone=false", "export/uses.csv", "uses/00000000-0000-7000-8000-000000000000/"]
)
def test_an_answer_that_comes_by_it_says_since_when_until_when_and_what_instead(
    path: str, auditor: Caller, leaving: None
):
    headers = auditor.get(path).headers
    assert headers["Deprecation"] == "@1798761600"
    assert parsedate_to_datetime(headers["Sunset"]).date() == SUNSET
    assert 'rel="deprecation"' in headers["Link"]
    assert '<http://testserver/api/v1/credentials/>; rel="successor-version"' in headers["Link"]


def test_a_parameter_is_deprecated_only_where_it_is_given(auditor: Caller, leaving: None):
    assert "Deprecation" not in auditor.get("owners/").headers
    headers = auditor.get("owners/?email=mira@example.org").headers
    assert parsedate_to_datetime(headers["Sunset"]).date() == date(2028, 1, 1)
    assert "successor" not in headers["Link"]


def test_nothing_else_says_so(auditor: Caller, leaving: None):
    assert "Deprecation" not in auditor.get("credentials/").headers
    assert "Sunset" not in auditor.get("export/credentials.csv").headers


def test_the_document_says_so_too(leaving: None):
    paths = SchemaGenerator().get_schema(request=None, public=True)["paths"]
    listed = paths["/api/v1/uses/"]["get"]
    assert listed["deprecated"]
    assert "Use `credentials/`" in listed["description"]
    owners = paths["/api/v1/owners/"]["get"]
    assert "deprecated" not in owners
    (email,) = [each for each in owners["parameters"] if each["name"] == "email"]
    assert email["deprecated"]
    assert "Use `q`" in email["description"]


def test_nothing_goes_without_half_a_year_of_notice():
    with pytest.raises(ValueError, match="180 days"):
        Deprecation("uses", SINCE, SINCE + NOTICE / 2)
