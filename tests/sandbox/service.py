"""A running sandbox and plain HTTP calls to it; nothing of the package's own client is used."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-W", "error", "-m", "bronto_orders.sandbox"]
TIMEOUT = 30


class Process:
    """A child process that serves, and what it wrote."""

    def __init__(self, *arguments: str, command: list[str] | None = None, **kwargs: Any) -> None:
        self.child = subprocess.Popen(
            [*(command or COMMAND), *arguments],
            cwd=kwargs.pop("cwd", ROOT),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **kwargs,
        )
        self.errors: list[str] = []
        self._drain = threading.Thread(target=lambda: self.errors.extend(self.child.stderr or ()))
        self._drain.start()
        assert self.child.stdout is not None
        self.first_line = self.child.stdout.readline()
        self._result: tuple[int, str, str] | None = None

    @property
    def base_url(self) -> str:
        assert self.first_line.startswith("http://"), "".join(self.errors)
        return self.first_line.strip()

    def stop(self) -> tuple[int, str, str]:
        """End it with SIGTERM if it still runs; return its exit code, the rest of stdout and all of stderr."""
        if self._result is None:
            if self.child.poll() is None:
                self.child.terminate()
            code = self.child.wait(TIMEOUT)
            self._drain.join(TIMEOUT)
            with self.child:
                rest = self.child.stdout.read() if self.child.stdout else ""
            self._result = code, rest, "".join(self.errors)
        return self._result


class Service:
    """The calls of the tests, each with a token unless told otherwise."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.session = requests.Session()
        self.session.trust_env = False
        self._token: str | None = None

    def close(self) -> None:
        self.session.close()

    def reset(self) -> None:
        self.control("POST", "reset")
        self._token = None

    def grant(self, client_id: str = "sandbox", client_secret: str = "sandbox-secret") -> dict[str, Any]:
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        answer = self.ask_token(form)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def ask_token(self, form: Any, **kwargs: Any) -> requests.Response:
        return self.session.post(f"{self.base_url}/oauth2/token", data=form, timeout=TIMEOUT, **kwargs)

    @property
    def token(self) -> str:
        if self._token is None:
            self._token = str(self.grant()["access_token"])
        return self._token

    def call(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        headers = dict(kwargs.pop("headers", {}))
        if "Authorization" not in headers:
            headers["Authorization"] = f"Bearer {self.token}"
        kwargs.setdefault("timeout", TIMEOUT)
        return self.session.request(method, self.base_url + path, headers=headers, **kwargs)

    def add(self, body: Any = None, /, **params: str) -> requests.Response:
        return self.call(
            "POST", "/orders", json={"customerOrderId": "abc-123"} if body is None else body, params=params
        )

    def update(self, order_id: str, body: Any, /, **params: str) -> requests.Response:
        return self.call("POST", f"/orders/{quote(order_id, safe='')}", json=body, params=params)

    def update_by_shop_id(self, customer_order_id: str, body: Any, /, **params: str) -> requests.Response:
        return self.call("POST", shop_path(customer_order_id), json=body, params=params)

    def get(self, order_id: str) -> requests.Response:
        return self.call("GET", f"/orders/{quote(order_id, safe='')}")

    def search(self, **params: str) -> requests.Response:
        return self.call("GET", "/orders", params=params)

    def control(self, method: str, name: str, body: Any = None, **params: Any) -> Any:
        answer = self.session.request(
            method, f"{self.base_url}/_sandbox/{name}", json=body, params=params, timeout=TIMEOUT
        )
        assert answer.ok, answer.text
        return answer.json() if answer.content else None

    def orders(self) -> list[dict[str, Any]]:
        return list(self.control("GET", "orders"))

    def event_kinds(self) -> list[str]:
        return [event["kind"] for event in self.control("GET", "events")]

    def requests(self) -> list[dict[str, Any]]:
        return list(self.control("GET", "requests"))

    def stage(self, *rules: dict[str, Any]) -> None:
        self.control("PUT", "faults", list(rules))


def shop_path(customer_order_id: str) -> str:
    return f"/orders/customerOrderId/{quote(customer_order_id, safe='')}"


def reason(answer: requests.Response, status: int) -> str:
    """The reason of a refusal, after checking its form."""
    assert answer.status_code == status, answer.text
    text = answer.headers["X-Reason"]
    assert text
    assert text.isascii()
    assert text.isprintable()
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {"reason": text, "status": status}
    return text
