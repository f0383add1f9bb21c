"""What every noun can do, asked of all that the router knows, and pages that hold while others write."""

import json
from itertools import count

import pytest

from config.api import NOUNS, document
from inventory.models import Credential
from tests.api.conftest import Caller, Estate, problem_of
from tests.api.test_nouns import exported
from tests.factories import NOW, connection, credential
from web.writes import WritingViewSet


def test_every_noun_gives_only_the_members_that_are_asked_for(auditor: Caller, estate: Estate):
    for noun in NOUNS:
        assert {tuple(each) for each in auditor.json(f"{noun}/?fields=display,id")["results"]} == {("id", "display")}
        assert set(exported(auditor, f"{noun}.csv?fields=display").splitlines()[:1]) == {"display"}, noun
        one = auditor.json(f"{noun}/?page_size=1")["results"][0]["url"]
        assert set(auditor.json(f"{one}?fields=url")) == {"url"}


def test_every_noun_is_asked_again_without_content(auditor: Caller, estate: Estate):
    for noun in NOUNS:
        one = auditor.json(f"{noun}/?page_size=1")["results"][0]["url"]
        for path in (f"{noun}/", one):
            etag = auditor.get(path).headers["ETag"]
            assert auditor.get(path, **{"If-None-Match": etag}).status_code == 304, path


def test_pages_of_every_noun_are_together_its_list_there_and_back(auditor: Caller, estate: Estate):
    for noun, viewset in NOUNS.items():
        for ordering in (name for each in viewset.orderings for name in (each.name, f"-{each.name}")):
            whole = [each["id"] for each in auditor.json(f"{noun}/?ordering={ordering}")["results"]]
            path, there, last = f"{noun}/?ordering={ordering}&page_size=2", [], ""
            while path:
                page, last = auditor.json(path), path
                there += [each["id"] for each in page["results"]]
                path = page["next"]
            assert there == whole, (noun, ordering)
            back, path = [], last
            while path:
                page = auditor.json(path)
                back = [each["id"] for each in page["results"]] + back
                path = page["previous"]
            assert back == whole, (noun, ordering)


def test_every_noun_names_what_is_wrong_with_a_question(auditor: Caller, estate: Estate):
    for noun in NOUNS:
        for query in ("no_such=1", "ordering=no_such", "fields=no_such", "page_size=0", "cursor=x"):
            said = problem_of(auditor.get(f"{noun}/?{query}"), 400)
            assert set(said["errors"]) == {query.partition("=")[0]}, (noun, query)
        for query in ("no_such=1", "ordering=no_such", "fields=no_such"):
            problem_of(auditor.get(f"export/{noun}.ndjson?{query}"), 400)


def test_every_write_takes_a_key_that_makes_it_safe_to_repeat():

    paths = json.loads(document())["paths"]
    written = 0
    for noun, viewset in NOUNS.items():
        if not issubclass(viewset, WritingViewSet):
            continue
        for path, verbs in paths.items():
            if path.startswith(f"/api/v1/{noun}/") and "post" in verbs:
                named = {parameter["name"] for parameter in verbs["post"]["parameters"]}
                assert "Idempotency-Key" in named, path
                written += 1
    assert written > 20


@pytest.mark.parametrize("ordering", ["id", "-id", "name", "-name", "-risk", "known_since"])
def test_what_stood_throughout_is_on_one_page_however_much_is_written_in_between(ordering: str, auditor: Caller):
    """Between two pages rows come at both ends and in the middle, others go, and others change."""
    place, fresh = connection(), count()

    def another(name: str) -> Credential:
        return credential(name=name, connection=place, risk=next(fresh) % 4, issued_at=NOW)

    standing = {str(another(f"m{n:02d}").pk) for n in range(20)}
    going = [another(f"m{n:02d}x") for n in range(20)]
    path, seen = f"credentials/?ordering={ordering}&page_size=7", []
    while path and len(seen) < 300:
        page = auditor.json(path)
        seen += [each["id"] for each in page["results"]]
        path = page["next"]
        if going:
            for row in going[-3:]:
                row.delete()
            del going[-3:]
            for letter in "amz":
                another(f"{letter}{next(fresh)}")
        Credential.objects.filter(pk__in=standing).update(hint=f"…{len(seen)}")
    assert sorted(pk for pk in seen if pk in standing) == sorted(standing)
    assert len(seen) == len(set(seen))
