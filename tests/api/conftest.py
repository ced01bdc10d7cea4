from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.test import Client

from bronto_orders import wire

URL = "/bronto/orders/default/"
READ = ["view_order"]
WRITE = ["add_order", "change_order", "view_order"]


class Api:
    """Somebody who calls the API, with a session."""

    def __init__(self, user: User | None) -> None:
        self.client = Client(raise_request_exception=True)
        if user is not None:
            self.client.force_login(user)

    def call(self, method: str, url: str, body: Any = None, **headers: str) -> Any:
        """Return the response; its ``data`` is what its body says. A body of bytes is sent as it is."""
        content = body if isinstance(body, bytes) else b"" if body is None else wire.dumps(body).encode()
        response: Any = self.client.generic(method, url, content, "application/json", headers=headers)
        response.data = json.loads(response.content) if response.content else None
        return response

    def get(self, url: str, **headers: str) -> Any:
        return self.call("GET", url, **headers)

    def post(self, url: str, body: Any = None) -> Any:
        return self.call("POST", url, body)

    def put(self, number: str, body: Any, **headers: str) -> Any:
        return self.call("PUT", order_url(number), body, **headers)

    def patch(self, number: str, body: Any, **headers: str) -> Any:
        return self.call("PATCH", order_url(number), body, **headers)


def order_url(number: str, verb: str = "") -> str:
    return f"{URL}{quote(number, safe='')}/{verb}"


def problems(response: Any) -> dict[str, str]:
    """Return the errors of a problem: code by path."""
    assert response["Content-Type"] == "application/problem+json"
    assert response.data.keys() == {"type", "title", "status", "detail", "errors"}
    assert response.data["status"] == response.status_code
    return {error["path"]: error["code"] for error in response.data["errors"]}


def kind(response: Any) -> str:
    """Return which problem it is."""
    problems(response)
    return str(response.data["type"]).removeprefix("urn:bronto-orders:problem:")


@pytest.fixture(autouse=True)
def fresh_throttles() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def somebody(db: None) -> Callable[..., Api]:
    """Make a user with just these permissions."""

    def make(*codenames: str, username: str = "shop") -> Api:
        user = User.objects.create_user(username)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        return Api(User.objects.get(pk=user.pk))

    return make


@pytest.fixture
def api(db: None) -> Api:
    """Somebody who may do everything."""
    return Api(User.objects.create_superuser("boss"))


@pytest.fixture
def shop(somebody: Callable[..., Api]) -> Api:
    """A shop that pushes its orders."""
    return somebody(*WRITE)
