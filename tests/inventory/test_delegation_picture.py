"""The delegation picture: who acts for whom, drawn and said, for three paths and for three hundred."""

import re
from itertools import pairwise

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from access.actors import Actor
from access.roles import Role
from inventory.models import AuthorizationServer, Use
from inventory.states import Storage, TrustModel
from inventory.views.delegation import LISTED, delegation
from tests import factories
from tests.factories import NOW
from tests.people import browser, owners_browser, text
from web.lanes import Edge, Node, place

pytestmark = pytest.mark.django_db

EVERYTHING = Actor.system("tests")


def drawn(uses=None, actor: Actor = EVERYTHING, subject=None):
    return delegation(Use.objects.all() if uses is None else uses, actor, about="Who acts for whom", subject=subject)


def boxes(picture) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for box in picture.picture.boxes:
        found.setdefault(box.node.lane, []).append(box.node.text)
    return found


def consented(**values):
    issuer = AuthorizationServer.objects.create(issuer="https://id.halden.example", first_seen_at=NOW)
    credential = factories.credential(
        name="Mira's token", trust_model=TrustModel.USER_CONSENTED, subject="Mira Okafor", issuer="github", **values
    )
    server = factories.server(name="github-prod", authorization_server=issuer)
    return factories.use(credential, server=server, client=factories.client(name="Cursor"), held_as="token_store")


def test_a_consented_path_leads_from_the_user_over_the_authorization_server_to_the_resource():
    consented()
    picture = drawn()
    assert boxes(picture) == {
        0: ["Mira Okafor"],
        1: ["Cursor"],
        2: ["github-prod"],
        3: ["id.halden.example"],
        4: ["github"],
    }
    assert {tone for _, tone in picture.picture.paths} == {"consented"}
    (line,) = picture.lines
    assert line == (
        "Mira Okafor → Cursor → github-prod, stdio → https://id.halden.example → github, with Mira's token: "
        "on behalf of a user who consented"
    )


def test_a_static_key_goes_round_user_and_authorization_server_and_says_so():
    factories.use(factories.credential(issuer="github"), held_as=Storage.REFERENCE)
    picture = drawn()
    assert boxes(picture)[0] == ["No user"]
    assert boxes(picture)[3] == ["static key"]
    assert {tone for _, tone in picture.picture.paths} == {"static"}
    assert "round the authorization server" in picture.lines[0]


def test_a_literal_static_key_is_told_apart_in_words_and_line():
    factories.use(factories.credential(), held_as=Storage.LITERAL)
    picture = drawn()
    assert boxes(picture)[3] == ["literal static key"]
    assert [(trust.tone, trust.count) for trust in picture.legend] == [("bad", 1)]


def test_what_is_not_known_is_said_to_be_unknown():
    factories.use(factories.credential(trust_model=TrustModel.UNKNOWN), held_as=Storage.REFERENCE)
    factories.use(factories.credential(trust_model=TrustModel.USER_CONSENTED), held_as=Storage.TOKEN_STORE)
    words = boxes(drawn())
    assert set(words[0]) == {"Unknown", "A user"}
    assert set(words[3]) == {"trust unknown", "Not known"}


def test_a_path_without_a_credential_ends_at_the_server():
    factories.use(None)
    assert sorted(boxes(drawn())) == [0, 1, 2]


def test_what_is_gone_is_not_drawn():
    factories.use(None, gone_at=NOW, last_seen_at=NOW)
    assert drawn() is None


def test_every_box_that_can_be_opened_is_a_link():
    use = consented()
    page = text(browser(Role.AUDITOR).get(f"/servers/{use.server_id}/"))
    svg = page[
        page.index('<svg class="chart delegation') : page.index("</svg>", page.index('<svg class="chart delegation'))
    ]
    assert set(re.findall(r'<a href="([^"]+)"', svg)) == {
        f"/clients/{use.client_id}/",
        f"/servers/{use.server_id}/",
        f"/credentials/{use.credential_id}/",
    }


@pytest.mark.parametrize(
    "page", ["/servers/{0.server_id}/", "/clients/{0.client_id}/", "/credentials/{0.credential_id}/"]
)
def test_the_picture_stands_on_the_pages_of_server_client_and_credential(page):
    use = consented()
    shown = text(browser(Role.AUDITOR).get(page.format(use)))
    assert "Mira Okafor" in shown
    assert "on behalf of a user who consented <b>1</b>" in shown
    assert "Read it as a list" in shown


def test_three_hundred_paths_are_counted_into_a_few_boxes_and_listed():
    server = factories.server(name="shared")
    for n in range(300):
        client = factories.client(name="Cursor" if n % 2 else f"agent-{n}", host=f"host-{n}")
        factories.use(factories.credential(issuer="github"), server=server, client=client)
    picture = drawn(subject=server.pk)
    assert all(len(lane) <= 12 for lane in boxes(picture).values())
    assert "Cursor" in boxes(picture)[1]
    merged = next(box.node for box in picture.picture.boxes if box.node.text == "Cursor")
    assert merged.sub == "150 clients"
    assert merged.url == f"/clients/?server={server.pk}&q=Cursor"
    assert len(picture.lines) == 300 <= LISTED
    assert picture.picture.height < 800


def test_the_row_that_the_page_is_about_is_never_counted_away():
    client = factories.client(name="the one")
    factories.use(None, client=client)
    for _ in range(40):
        factories.use(None)
    assert "the one" in boxes(drawn(subject=client.pk))[1]


def test_an_owner_sees_of_foreign_credentials_only_that_they_are_foreign():
    own, me = owners_browser()
    server = factories.server(name="mine", iam_owner=me)
    use = factories.use(factories.credential(name="foreign-key", issuer="github", hint="ghp_…9f2c"), server=server)
    page = text(own.get(f"/servers/{server.pk}/"))
    assert "Another owner&#x27;s" in page
    for hidden in (
        "foreign-key",
        "ghp_…9f2c",
        "github",
        f"/clients/{use.client_id}/",
        f"/credentials/{use.credential_id}/",
    ):
        assert hidden not in page


def test_an_owner_does_not_learn_the_user_of_a_foreign_credential():
    use = consented()
    own, me = owners_browser()
    use.server.iam_owner = me
    use.server.save()
    assert "Mira" not in text(own.get(f"/servers/{use.server_id}/"))


def test_the_picture_costs_one_statement():
    use = consented()
    for _ in range(20):
        factories.use(factories.credential(), server=use.server)
    with CaptureQueriesContext(database) as queries:
        drawn(Use.objects.filter(server=use.server), subject=use.server_id)
    assert len(queries) == 1


# ── Placing ──


def crossings(picture, edges: list[Edge]) -> int:
    at = {box.node.key: box.y for box in picture.boxes}
    ends = [(at[edge.start], at[edge.end]) for edge in edges]
    return sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for i, a in enumerate(ends) for b in ends[i + 1 :])


def test_nodes_are_ordered_so_that_edges_do_not_cross_without_need():
    nodes = [Node(f"a{n}", 0, "a") for n in range(6)] + [Node(f"b{n}", 1, "b") for n in range(6)]
    edges = [Edge(f"a{n}", f"b{5 - n}") for n in range(6)]
    assert crossings(place(("A", "B"), nodes, edges, title="", description=""), edges) == 0


def test_two_ways_between_the_same_boxes_are_two_lines_apart():
    nodes = [Node("a", 0, "a"), Node("b", 1, "b")]
    picture = place(
        ("A", "B"), nodes, [Edge("a", "b", "static"), Edge("a", "b", "consented")], title="", description=""
    )
    (first, _), (second, _) = picture.paths
    assert first != second


def test_no_two_boxes_of_a_lane_overlap():
    nodes = [Node(f"n{n}", n % 3, "x") for n in range(60)]
    picture = place(("A", "B", "C"), nodes, [], title="", description="")
    for lane in range(3):
        places = sorted(box.y for box in picture.boxes if box.node.lane == lane)
        assert len(places) == 12
        assert all(lower - upper >= picture.box_height for upper, lower in pairwise(places))
