from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from bronto_orders.sandbox.faults import Fault, Rule
from tests.sandbox.service import Service, reason, shop_path


@pytest.fixture(autouse=True)
def token(service: Service) -> str:
    """Fetched before any fault is staged, so that order calls alone are struck."""
    return service.token


def test_status_before_the_write(service: Service):
    service.stage({"status": 503, "reason": "maintenance", "headers": {"Retry-After": 2}, "count": 1})

    answer = service.add()
    assert reason(answer, 503) == "maintenance"
    assert answer.headers["Retry-After"] == "2"
    assert service.orders() == []
    assert service.add().status_code == 201


def test_status_after_the_write(service: Service):
    service.stage({"match": {"method": "POST"}, "status": 500, "apply": "after", "count": 2})

    assert reason(service.add(), 500) == "injected fault"
    assert len(service.orders()) == 1
    reason(service.update_by_shop_id("abc-123", {"currency": "EUR"}), 500)
    assert service.orders()[0]["currency"] == "EUR"


@pytest.mark.parametrize("status", [403, 408, 429, 502, 504, 599])
def test_any_error_status(service: Service, status):
    service.stage({"status": status, "headers": {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}})

    assert service.add().headers["Retry-After"].endswith("GMT")
    assert service.add().status_code == status


@pytest.mark.parametrize(("apply", "stored"), [("before", 0), ("after", 1)])
def test_dropped_connection(service: Service, apply, stored):
    service.stage({"drop": True, "apply": apply, "count": 1})

    with pytest.raises(requests.ConnectionError):
        service.add()

    assert len(service.orders()) == stored
    assert service.search(customerOrderId="abc-123").status_code == (200 if stored else 204)


def test_truncated_answer(service: Service):
    service.stage({"truncate": True, "count": 1})

    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        service.add()

    assert len(service.orders()) == 1
    assert service.call("GET", shop_path("abc-123")).status_code == 200


def test_truncated_error(service: Service):
    service.stage({"truncate": True, "status": 500, "count": 1})

    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        service.add()

    assert service.orders() == []


def test_truncated_answer_arrives_in_half(service: Service):
    whole = service.add().content
    service.stage({"truncate": True})

    with service.call("GET", shop_path("abc-123"), stream=True) as answer:
        assert answer.status_code == 200
        assert int(answer.headers["Content-Length"]) == len(whole)
        assert answer.raw.read(len(whole) // 2) == whole[: len(whole) // 2]


def test_truncated_answer_without_a_body_is_dropped(service: Service):
    service.add()
    service.stage({"truncate": True})

    with pytest.raises(requests.ConnectionError):
        service.call("DELETE", shop_path("abc-123"))

    assert service.orders() == []


@pytest.mark.parametrize(("apply", "stored"), [("before", 0), ("after", 1)])
def test_latency_around_the_write(service: Service, apply, stored):
    service.stage({"latency": 0.6, "apply": apply, "match": {"method": "POST"}})

    with pytest.raises(requests.ReadTimeout):
        service.call("POST", "/orders", json={"customerOrderId": "a"}, timeout=0.2)

    assert len(service.orders()) == stored
    deadline = time.monotonic() + 5
    while not service.requests()[-1]["fault"] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(service.orders()) == 1, "an impatient client does not undo the write"
    assert service.requests()[-1]["durationMs"] >= 600


def test_latency_alone_keeps_the_answer(service: Service):
    service.stage({"latency": 0.2})
    started = time.monotonic()

    assert service.add().status_code == 201
    assert time.monotonic() - started >= 0.2


def test_reset_gives_up_what_is_held_back(service: Service, other: Service):
    service.stage({"latency": 60, "match": {"method": "POST"}})
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(service.add)
        while not other.control("GET", "faults")[0]["hits"]:
            time.sleep(0.01)
        other.control("POST", "reset")
        assert reason(held.result(timeout=5), 503) == "the sandbox was reset"
    assert other.orders() == []
    assert other.requests() == []


ALL_CALLS = {"token", "add", "get a", "get by id", "search a", "update b", "delete c"}


@pytest.mark.parametrize(
    ("match", "struck"),
    [
        ({}, ALL_CALLS),
        ({"path": "/oauth2"}, {"token"}),
        ({"path": "/orders"}, ALL_CALLS - {"token"}),
        ({"path": "/orders/"}, {"get a", "get by id", "update b", "delete c"}),
        ({"path": "/orders$"}, {"add", "search a"}),
        ({"path": "/orders/*Id/a"}, {"get a"}),
        ({"path": "*customerOrderId*"}, {"get a", "update b", "delete c"}),
        ({"path": "/*/customerOrderId/*1$"}, {"get a"}),
        ({"path": "/*/customerOrderId/*2$"}, set()),
        ({"path": "orders"}, set()),
        ({"method": "get"}, {"get a", "get by id", "search a"}),
        ({"method": "POST", "path": "/orders"}, {"add", "update b"}),
        ({"customerOrderId": "a/1"}, {"add", "get a", "get by id", "search a"}),
        ({"customerOrderId": "b"}, {"update b"}),
        ({"customerOrderId": "c", "method": "DELETE"}, {"delete c"}),
        ({"customerOrderId": "nope"}, set()),
        ({"path": None, "method": None, "customerOrderId": None}, ALL_CALLS),
    ],
)
def test_match(service: Service, match, struck):
    order_id = service.add({"customerOrderId": "a/1"}).json()["orderId"]
    service.stage({"match": match, "status": 418})

    calls = {
        "token": service.ask_token({"grant_type": "client_credentials"}),
        "add": service.add({"customerOrderId": "a/1"}),
        "get a": service.call("GET", shop_path("a/1")),
        "get by id": service.get(order_id),
        "search a": service.search(customerOrderId="a/1"),
        "update b": service.update_by_shop_id("b", {}),
        "delete c": service.call("DELETE", shop_path("c")),
    }

    assert {name for name, answer in calls.items() if answer.status_code == 418} == struck
    assert service.control("GET", "faults")[0]["hits"] == len(struck)


def test_match_survives_a_broken_call(service: Service):
    service.stage({"match": {"customerOrderId": "a"}, "status": 503})

    for body in (b"{", b"[]", b'{"customerOrderId": 5}', b"\xff"):
        assert (
            service.call("POST", "/orders", data=body, headers={"Content-Type": "application/json"}).status_code == 400
        )
    assert service.call("GET", "/orders/customerOrderId/%FF").status_code == 400
    assert service.call("GET", "/orders?" + "a&" * 1500).status_code == 400


def test_first_rule_that_covers_a_call_strikes(service: Service):
    service.stage({"status": 500, "count": 1}, {"status": 502, "count": 1}, {"match": {"method": "PUT"}, "status": 418})

    assert [service.add().status_code for _ in range(3)] == [500, 502, 201]
    assert [rule["hits"] for rule in service.control("GET", "faults")] == [1, 1, 0]
    assert [rule["remaining"] for rule in service.control("GET", "faults")] == [0, 0, None]


def test_faults_strike_before_authentication(service: Service):
    service.stage({"status": 503})

    assert service.call("GET", "/orders", headers={"Authorization": "nonsense"}).status_code == 503


def test_control_is_never_struck(service: Service):
    service.stage({"drop": True})

    assert service.orders() == []
    service.control("DELETE", "faults")
    assert service.control("GET", "faults") == []
    assert service.add().status_code == 201


def test_new_rules_replace_the_old(service: Service):
    service.stage({"status": 500}, {"status": 501})
    service.stage({"status": 502, "match": {"path": "/orders", "method": "post"}, "count": 3})

    (rule,) = service.control("GET", "faults")
    assert rule == {
        "match": {"path": "/orders", "method": "POST", "customerOrderId": None},
        "skip": 0,
        "count": 3,
        "probability": 1,
        "seed": None,
        "seconds": None,
        "latency": 0,
        "jitter": 0,
        "fade": False,
        "status": 502,
        "reason": "injected fault",
        "headers": {},
        "apply": "before",
        "drop": False,
        "reset": False,
        "timeout": False,
        "truncate": False,
        "drip": 0,
        "revokeTokens": False,
        "hits": 0,
        "remaining": 3,
    }


def test_rules_may_be_added(service: Service):
    service.control("POST", "faults", [{"status": 500, "count": 1}])
    service.control("POST", "faults", [{"status": 502, "count": 1}, {"status": 503, "count": 1}])

    assert [service.add().status_code for _ in range(4)] == [500, 502, 503, 201]


def test_first_calls_may_pass(service: Service):
    service.stage({"status": 503, "skip": 2, "count": 1, "match": {"method": "GET"}})

    assert [service.search(customerOrderId="a").status_code for _ in range(4)] == [204, 204, 503, 204]


@pytest.mark.parametrize(("probability", "struck"), [(0, 0), (1, 20)])
def test_certain_and_impossible_faults(service: Service, probability, struck):
    service.stage({"status": 503, "probability": probability})

    codes = [service.search(customerOrderId="a").status_code for _ in range(20)]
    assert codes.count(503) == struck


def test_chance_is_repeatable_by_its_seed(service: Service):
    def run(seed: int) -> list[int]:
        service.stage({"status": 503, "probability": 0.5, "seed": seed})
        return [service.search(customerOrderId="a").status_code for _ in range(40)]

    first, other = run(7), run(8)

    assert run(7) == first
    assert other != first
    assert 5 < first.count(503) < 35


def test_fault_that_passes(service: Service):
    service.stage({"status": 503, "seconds": 0.5})

    assert service.add().status_code == 503
    assert service.control("GET", "faults")[0]["remaining"] is None
    time.sleep(0.6)
    assert service.control("GET", "faults")[0]["remaining"] == 0
    assert service.add().status_code == 201


def test_jitter_is_spread(service: Service):
    service.stage({"latency": 0.02, "jitter": 0.2, "seed": 1})
    for _ in range(8):
        service.search(customerOrderId="a")

    took = [call["durationMs"] for call in service.requests() if call["fault"]]
    assert min(took) >= 20
    assert max(took) - min(took) > 50


def test_jitter_is_repeatable_by_its_seed():
    def delays(seed: int) -> list[float]:
        rule = Rule(Fault(jitter=0.2, seed=seed))
        return [strike.delay for _ in range(8) if (strike := rule.strike())]

    assert delays(1) == delays(1) != delays(2)
    assert 0 <= min(delays(1)) < max(delays(1)) <= 0.2


def test_slow_start_fades(service: Service):
    service.stage({"latency": 0.4, "seconds": 1.2, "fade": True})
    for _ in range(12):
        service.search(customerOrderId="a")
        time.sleep(0.1)

    took = [call["durationMs"] for call in service.requests() if call["method"] == "GET"]
    assert took[0] > 300
    assert took[-1] < 50


def test_connection_reset(service: Service):
    service.stage({"reset": True, "count": 1, "apply": "after"})

    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        service.add()

    assert len(service.orders()) == 1


@pytest.mark.parametrize(("apply", "stored"), [("before", 0), ("after", 1)])
def test_time_out_around_the_write(service: Service, apply, stored):
    service.stage({"timeout": True, "apply": apply})

    with pytest.raises(requests.ReadTimeout):
        service.call("POST", "/orders", json={"customerOrderId": "a"}, timeout=0.3)

    assert len(service.orders()) == stored
    assert [(call["status"], call["fault"]) for call in service.requests()[-1:]] == [(None, True)]
    service.control("DELETE", "faults")
    assert len(service.orders()) == stored, "a call that timed out before it took effect never does"


def test_answer_that_drips(service: Service):
    service.stage({"drip": 0.5})
    started = time.monotonic()

    assert service.add().json()["customerOrderId"] == "abc-123"
    assert time.monotonic() - started >= 0.4


def test_tokens_revoked_in_mid_run(service: Service):
    service.stage({"revokeTokens": True, "skip": 2, "count": 1, "match": {"path": "/orders"}})

    codes = [service.add({"customerOrderId": str(number)}).status_code for number in range(4)]

    assert codes == [201, 201, 403, 403]
    headers = {"Authorization": f"Bearer {service.grant()['access_token']}"}
    answer = service.call("POST", "/orders", json={"customerOrderId": "new"}, headers=headers)
    assert answer.status_code == 201


def test_tokens_revoked_after_the_call(service: Service):
    service.stage({"revokeTokens": True, "apply": "after", "count": 1})

    assert service.add().status_code == 201
    assert service.update_by_shop_id("abc-123", {}).status_code == 403


def test_counts_are_exact_under_threads(service: Service, sandbox_url):
    service.stage({"status": 503, "count": 20}, {"status": 500, "count": 7})
    headers = {"Authorization": f"Bearer {service.token}"}

    def call(_: int) -> list[int]:
        with requests.Session() as session:
            url = f"{sandbox_url}/orders?customerOrderId=a"
            return [session.get(url, headers=headers, timeout=30).status_code for _ in range(10)]

    with ThreadPoolExecutor(8) as pool:
        codes = [code for some in pool.map(call, range(8)) for code in some]
    assert (codes.count(503), codes.count(500), codes.count(204)) == (20, 7, 53)


@pytest.mark.parametrize(
    ("rules", "name"),
    [
        ({}, "faults"),
        ([5], "faults[0]"),
        ([{}], "latency"),
        ([{"status": 500}, {"stauts": 500}], "faults[1].stauts"),
        ([{"status": 200}], "faults[0].status"),
        ([{"status": "500"}], "faults[0].status"),
        ([{"status": 500.5}], "faults[0].status"),
        ([{"status": 600}], "faults[0].status"),
        ([{"status": 500, "count": -1}], "faults[0].count"),
        ([{"status": 500, "count": True}], "faults[0].count"),
        ([{"latency": -1}], "faults[0].latency"),
        ([{"latency": 601}], "faults[0].latency"),
        ([{"latency": "1"}], "faults[0].latency"),
        ([{"drop": "yes"}], "faults[0].drop"),
        ([{"drop": True, "status": 500}], "drop"),
        ([{"drop": True, "truncate": True}], "drop"),
        ([{"drop": True, "reset": True}], "exclude"),
        ([{"timeout": True, "status": 500}], "timeout"),
        ([{"timeout": True, "drip": 1}], "timeout"),
        ([{"latency": 1, "fade": True}], "fade"),
        ([{"status": 500, "probability": 1.5}], "faults[0].probability"),
        ([{"status": 500, "probability": "1"}], "faults[0].probability"),
        ([{"status": 500, "skip": -1}], "faults[0].skip"),
        ([{"status": 500, "seed": 0.5}], "faults[0].seed"),
        ([{"revokeTokens": 1}], "faults[0].revokeTokens"),
        ([{"truncate": True, "apply": "before"}], "truncate"),
        ([{"status": 500, "reason": "nul\x00"}], "faults[0].reason"),
        ([{"latency": 1, "reason": "x"}], "reason"),
        ([{"status": 500, "reason": 5}], "faults[0].reason"),
        ([{"status": 500, "apply": "during"}], "faults[0].apply"),
        ([{"status": 500, "apply": []}], "faults[0].apply"),
        ([{"status": 500, "headers": []}], "faults[0].headers"),
        ([{"status": 500, "headers": {"X-A": "a\r\nX-B: b"}}], "faults[0].headers"),
        ([{"status": 500, "headers": {"X A": "a"}}], "faults[0].headers"),
        ([{"status": 500, "headers": {"X-A": None}}], "faults[0].headers"),
        ([{"status": 500, "headers": {"Connection": "close"}}], "faults[0].headers"),
        ([{"status": 500, "headers": {"Content-Length": "5"}}], "faults[0].headers"),
        ([{"status": 500, "match": []}], "faults[0].match"),
        ([{"status": 500, "match": {"url": "/"}}], "faults[0].match.url"),
        ([{"status": 500, "match": {"path": 5}}], "faults[0].match.path"),
        ([{"status": 500, "match": {"method": 5}}], "faults[0].match.method"),
        ([{"status": 500, "match": {"customerOrderId": 5}}], "faults[0].match.customerOrderId"),
    ],
)
def test_senseless_rules(service: Service, rules, name):
    service.stage({"status": 500})

    answer = service.session.put(f"{service.base_url}/_sandbox/faults", json=rules, timeout=30)

    assert name in reason(answer, 400)
    assert len(service.control("GET", "faults")) == 1, "the rules in force stay"
