from __future__ import annotations

import pytest

from bronto_orders.delivery import engine
from tests.fakes import FakeBronto


@pytest.fixture
def bronto(monkeypatch: pytest.MonkeyPatch) -> FakeBronto:
    """The engine talks to this."""
    fake = FakeBronto()
    monkeypatch.setattr(engine, "client_for", lambda account: fake)
    return fake
