"""The OpenAPI document: complete, valid, and true of what the API answers."""

import json

import jsonschema
import pytest
from django.core.management import call_command
from django.test import Client

from config.api import NOUNS, document
from history.kept import has_past
from tests.api.conftest import Caller, Estate


@pytest.fixture(scope="module")
def schema():
    return json.loads(document())


def test_it_is_generated_without_a_warning_and_validates(capsys: pytest.CaptureFixture[str]):
    call_command("spectacular", "--fail-on-warn", "--validate")
    assert capsys.readouterr().out.startswith("openapi: 3.1")


def test_anybody_may_read_it(db: None):
    answer = Client().get("/api/v1/schema/")
    assert answer.status_code == 200
    assert answer.json()["info"]["title"] == "Keyreeve"


@pytest.mark.parametrize("noun", NOUNS)
def test_every_noun_is_in_it_with_every_parameter(noun: str, schema):
    listed = schema["paths"][f"/api/v1/{noun}/"]["get"]
    named = {parameter["name"] for parameter in listed["parameters"]}
    of_time = {"as_of"} if has_past(NOUNS[noun].queryset.model) else set()
    assert named == {*NOUNS[noun].filterset_class.base_filters, *of_time, "fields", "ordering", "cursor", "page_size"}
    for path in (f"{noun}/{{id}}/", f"export/{noun}.ndjson", f"export/{noun}.csv"):
        assert "get" in schema["paths"][f"/api/v1/{path}"]


@pytest.mark.parametrize("noun", NOUNS)
def test_answers_are_as_it_says(noun: str, schema, auditor: Caller, estate: Estate):
    said = schema["paths"][f"/api/v1/{noun}/"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    listed = auditor.json(f"{noun}/")
    jsonschema.Draft202012Validator({**said, "components": schema["components"]}).validate(listed)
    (name,) = [
        each["items"]["$ref"].rpartition("/")[2]
        for each in [schema["components"]["schemas"][said["$ref"].rpartition("/")[2]]["properties"]["results"]]
    ]
    assert set(listed["results"][0]) == set(schema["components"]["schemas"][name]["properties"])
