"""What the tests of the lifecycle share: an operator, and an evaluation at a moment of their choice."""

from collections.abc import Callable
from datetime import datetime

import pytest

from access.actors import Actor, ActorKind
from access.models import User
from access.roles import Role
from lifecycle.actions.evaluation import Evaluation, evaluate
from tests.factories import NOW


@pytest.fixture
def operator() -> Actor:
    return Actor(ActorKind.USER, "7", "Mira Okafor", frozenset({Role.OPERATOR}), user_id=None)


@pytest.fixture
def outsider(db) -> Actor:
    """An owner of something else."""
    user = User.objects.create(username="outsider", email="outsider@example.org")
    return Actor(ActorKind.USER, str(user.pk), "Ana Duarte", frozenset({Role.OWNER}), user_id=user.pk)


@pytest.fixture
def full(db) -> Callable[..., Evaluation]:
    def run(now: datetime = NOW) -> Evaluation:
        return evaluate(now, actor=Actor.system("test"), full=True)

    return run


@pytest.fixture
def changed(db) -> Callable[..., Evaluation]:
    """Evaluate what is due or has changed, as the timetable does."""

    def run(now: datetime = NOW) -> Evaluation:
        return evaluate(now, actor=Actor.system("test"))

    return run
