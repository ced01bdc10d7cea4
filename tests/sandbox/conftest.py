from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sandbox.service import Process, Service


@pytest.fixture(scope="session")
def sandbox_url() -> Iterator[str]:
    process = Process("--port", "0")
    yield process.base_url
    code, rest, errors = process.stop()
    assert (code, rest, errors) == (0, "", "")


@pytest.fixture
def service(sandbox_url: str) -> Iterator[Service]:
    service = Service(sandbox_url)
    service.reset()
    yield service
    service.close()


@pytest.fixture
def other(sandbox_url: str) -> Iterator[Service]:
    """A second client beside the first."""
    service = Service(sandbox_url)
    yield service
    service.close()
