"""The demo company's PostgreSQL: what it was made of is what a reader sees there."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from demo.database import DATABASE, OPERATOR, READER, company, password_of, running
from providers.base import CredentialRef, DiscoveredCredential, Liveness, Secret, Status
from providers.postgres import Roles, Target
from providers.postgres_logins import Logins

NOW = datetime.now(tz=UTC).replace(microsecond=0)


@pytest.fixture
def host(home: Path) -> Iterator[Path]:
    with running(home / "pg", now=NOW) as folder:
        yield folder


def reader(host: Path) -> Roles:
    target = Target(host=str(host), user=READER, database=DATABASE, password=Secret(password_of(READER)))
    return Roles(target, date_key="rotated")


def test_a_reader_sees_the_company_s_roles_as_they_were_made(host: Path) -> None:
    found = {role.principal: role for role in reader(host).discover() if isinstance(role, DiscoveredCredential)}
    made = {role.name: role for role in company(NOW)}
    assert set(found) == {*made, READER, OPERATOR, "postgres"}
    assert found["migration_2024"].status is Status.EXPIRED
    assert found["auditor_external"].expires_at == NOW + timedelta(days=12)
    assert found["legacy_etl"].details["superuser"] is True
    seen = {name for name, role in found.items() if role.last_used_at} - {READER, "postgres"}
    assert seen == {name for name, role in made.items() if role.is_seen}


def test_a_second_start_finds_the_roles_and_changes_no_password(home: Path) -> None:
    for _ in range(2):
        with running(home / "again", now=NOW) as folder:
            assert "as keyreeve_reader" in reader(folder).check()


def test_its_operator_rotates_the_applications_logins_and_that_stays_over_a_start(home: Path) -> None:
    def logins(folder: Path) -> Logins:
        password = Secret(password_of(OPERATOR))
        return Logins(Target(host=str(folder), user=OPERATOR, database=DATABASE, password=password))

    used = next(role.name for role in company(NOW) if role.name.endswith("_app_a"))
    ref = CredentialRef(identity=f"postgres:1:{used}", kind="database_password", external_id=used)
    with running(home / "again", now=NOW) as folder:
        issued = logins(folder).issue(ref, request_key="op:1")
        logins(folder).destroy(ref, used)
    with running(home / "again", now=NOW) as folder:
        assert logins(folder).verify(ref, issued.external_id, issued.secret).liveness is Liveness.ALIVE
        gone = logins(folder).verify(ref, used, Secret(password_of(used)))
        assert gone.liveness is Liveness.REFUSED


def test_the_company_has_old_roles_and_seen_roles_and_roles_that_end() -> None:
    roles = company(NOW)
    assert roles == company(NOW)
    assert len({role.name for role in roles}) == len(roles) > 30
    assert any(role.is_seen for role in roles)
    assert any(role.ends and role.ends < timedelta() for role in roles)
    assert len({password_of(role.name) for role in roles}) == len(roles)
