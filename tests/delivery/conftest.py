from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django.plugin import DjangoDbBlocker

from tests import transitions


@pytest.fixture(scope="session")
def witness(request: pytest.FixtureRequest, django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """Installed before the first test begins a transaction; there is no database when no test wants one."""
    if any(item.get_closest_marker("django_db") for item in request.session.items):
        with django_db_blocker.unblock():
            transitions.install()


@pytest.fixture(autouse=True)
def known_transitions(request: pytest.FixtureRequest, witness: None) -> Iterator[None]:
    """Whatever a test of delivery does, no order's state changes but as the table of transitions says."""
    if request.node.get_closest_marker("django_db") is None:
        yield
        return
    transitions.forget()
    yield
    assert transitions.unknown() == set()
