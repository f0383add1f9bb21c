"""The running API held against its own OpenAPI document: schemathesis makes up requests, fitting ones and others.

Every operation is asked about an object that there is and about made-up ones, by somebody who may do everything, so
that nothing is hidden behind a refusal. Of what schemathesis can check all is asked that our answers promise; what is
made up is made up the same way in every run.
"""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode, openapi
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from access.roles import Role
from config.api import NOUNS
from config.wsgi import application
from tests.api.conftest import Caller, Estate, bearer

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
    ignored_auth,
]
EVERY = 11  # in a usual run, one operation of so many


@pytest.fixture(autouse=True)
def unhurried(settings: Any) -> Iterator[None]:
    """As many requests as it takes."""
    settings.API_BUDGETS = dict.fromkeys(settings.API_BUDGETS, 0)
    settings.ALLOWED_HOSTS = ["*"]
    logger = logging.getLogger("django.request")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)
    logger.setLevel(level)


def served(environ: Any, start_response: Any) -> Any:
    """The application, which leaves open the connection with the test's rows. Django's own client connects it again."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    return application(environ, start_response)


@pytest.fixture
def anything(estate: Estate) -> Caller:
    return bearer(Role.ADMINISTRATOR)


def operations() -> list[Any]:
    schema = openapi.from_wsgi("/api/v1/schema/", served)
    found = [each.ok() for each in schema.get_all_operations()]
    return sorted(found, key=lambda each: (each.path, each.method))


def faults_of(operation: Any, caller: Caller, *, known: str | None, examples: int) -> Iterator[str]:
    """What schemathesis has to say against the answers to `operation`."""
    for mode in GenerationMode:
        strategies = [operation.as_strategy(mode)]
        if known is not None:
            strategies.append(operation.as_strategy(mode, path_parameters={"id": known}))
        for strategy in strategies:

            @settings(
                max_examples=examples, derandomize=True, deadline=None, database=None,
                suppress_health_check=list(HealthCheck), phases=[Phase.generate],
            )  # fmt: skip
            @given(strategy)
            def hold(case: Case) -> None:
                case.call_and_validate(headers=caller.headers, checks=CHECKS)

            try:
                hold()
            except Unsatisfiable:  # of a read without parameters nothing can be made up wrong
                continue
            except (Failure, FailureGroup) as exc:
                said = [str(each) for each in getattr(exc, "exceptions", [exc])]
                yield f"{operation.method.upper()} {operation.path} ({mode.value}): {said}"


def all_faults(asked: list[Any], caller: Caller, *, examples: int) -> list[str]:
    known = {noun: str(caller.json(f"{noun}/?page_size=1")["results"][0]["id"]) for noun in NOUNS}
    return [
        fault
        for operation in asked
        for fault in faults_of(
            operation, caller,
            known=known.get(operation.path.split("/")[3]) if "{id}" in operation.path else None, examples=examples,
        )
    ]  # fmt: skip


def test_answers_to_made_up_requests_are_as_the_document_says(anything: Caller):
    assert "\n".join(all_faults(operations()[::EVERY], anything, examples=1)) == ""


@pytest.mark.long
def test_answers_to_many_more_made_up_requests_are_too(anything: Caller):
    assert "\n".join(all_faults(operations(), anything, examples=4)) == ""
