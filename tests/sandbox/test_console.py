from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
from django.test import override_settings

from bronto_orders.sandbox import service as sandbox
from bronto_orders.sandbox.excerpts import shorten, show_body, show_json
from bronto_orders.sandbox.faults import Fault, FaultBoard, Match
from bronto_orders.sandbox.messages import Request
from bronto_orders.sandbox.rows import fault_row
from tests.sandbox.samples import coffee_mug_order
from tests.sandbox.service import Service, reason

POLICY = {
    "default-src": "'none'",
    "style-src": "'self'",
    "script-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self' data:",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
SECTIONS = ("state", "faults", "orders", "requests", "events", "contacts", "returns", "switches", "start-over")
FIRED = {"firedDate": "2015-01-01T00:00:00.000Z"}
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'; DROP TABLE x;-- {{ 7 }} {% if %} &amp;"


class Page(HTMLParser):
    """The elements of a page, and the text in each of its sections."""

    VOID = ("meta", "link", "input", "rect", "path")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._open: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert not self._open, "an element is not closed"

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.elements.append((tag, found))
        if tag not in self.VOID:
            self._open.append((tag, found.get("id") or ""))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self._open.pop()[0] == tag

    def handle_data(self, data):
        for tag, name in self._open:
            for place in (tag, name):
                if place:
                    self.texts[place] = self.texts.get(place, "") + data

    def text(self, place: str) -> str:
        return " ".join(self.texts.get(place, "").split())

    def attributes(self, tag: str, name: str) -> list[str]:
        return [value for found, attributes in self.elements if found == tag and (value := attributes.get(name))]


def get(service: Service, path: str = ""):
    return service.session.get(f"{service.base_url}/_sandbox/{path}", timeout=30)


def read(service: Service) -> Page:
    answer = get(service)
    assert answer.status_code == 200, answer.text
    return Page(answer.text)


def press(service: Service, action: str, **fields: str):
    """Send a form as a browser without JavaScript does, and return the answer itself."""
    form = {"action": action, **fields}
    return service.session.post(f"{service.base_url}/_sandbox/", data=form, allow_redirects=False, timeout=30)


def snapshot(service: Service) -> dict[str, object]:
    names = ("orders", "contacts", "returns", "events", "requests", "faults", "switches")
    return {name: service.control("GET", name) for name in names}


def test_headers(service: Service):
    headers = get(service).headers

    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";")) == POLICY
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    # With no-referrer a browser would send the forms with "Origin: null", which the control API refuses.
    assert headers["Referrer-Policy"] == "same-origin"


def test_nothing_is_inline_and_nothing_comes_from_elsewhere(service: Service):
    service.add(coffee_mug_order(), createContact="true")
    press(service, "preset", preset="flaky")
    page = read(service)

    for tag, attributes in page.elements:
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag
        assert tag != "style"
        for name in ("href", "src", "action"):
            target = urlsplit(attributes.get(name) or "")
            assert target.scheme in ("", "data"), attributes
            assert not target.netloc, attributes
            assert not target.path.startswith("/") or target.scheme, "the sandbox may be mounted below a path"
    assert "script" not in page.texts
    assert set(page.attributes("script", "src")) == {"console.js"}


def test_assets(service: Service):
    for name, kind in (("console.css", "text/css; charset=utf-8"), ("console.js", "text/javascript; charset=utf-8")):
        for _ in range(2):
            answer = get(service, name)
            assert (answer.status_code, answer.headers["Content-Type"]) == (200, kind)
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert len(answer.content) > 1000
    assert not re.search(r"https?://|@import|url\(", get(service, "console.css").text)
    for name in ("console.html", "..%2Fconsole.py", "%2Fetc%2Fpasswd"):
        reason(get(service, name), 404)


def test_address_without_a_slash(service: Service):
    for method in ("GET", "POST"):
        answer = service.session.request(method, f"{service.base_url}/_sandbox", allow_redirects=False, timeout=30)
        assert (answer.status_code, answer.headers["Location"]) == (308, "_sandbox/")


def test_looking_changes_nothing(service: Service):
    service.add(coffee_mug_order(), createContact="true")
    before = snapshot(service)

    for path in ("", "?action=reset", "?action=preset&preset=outage"):
        assert get(service, path).status_code == 200

    assert snapshot(service) == before


def test_sections_of_an_empty_sandbox(service: Service):
    page = read(service)

    for name in SECTIONS:
        assert page.text(name), name
    assert page.text("verdict") == "Answering normally No fault is active."
    assert page.text("title").startswith("Answering normally")
    assert page.text("base-url") == service.base_url
    assert page.text("client-id") == "sandbox"
    for line in (f"{service.base_url}/oauth2/token", "client_id=sandbox", f'"{service.base_url}/orders?createContact'):
        assert line in page.text("orders")
    labels = page.attributes("section", "aria-labelledby")
    assert set(labels) <= set(page.texts), "each section is named by its heading"


def test_every_id_is_there_once(service: Service):
    service.add(coffee_mug_order(), createContact="true")
    press(service, "preset", preset="flaky")

    ids = [attributes["id"] for _, attributes in read(service).elements if "id" in attributes]

    assert len(ids) == len(set(ids))


def test_an_order_and_what_came_of_it(service: Service):
    service.add(coffee_mug_order(grandTotal="4.270"), createContact="true")
    service.update_by_shop_id("abc-123", {"states": {"shipped": True}})
    service.add(coffee_mug_order())
    page = read(service)

    for words in ("abc-123 Processed Shipped 4.270 USD", "example@email.com 1 item with tracking", '"sku": "0003105"'):
        assert words in page.text("orders"), words
    for words in ("201 Created POST /orders abc-123", "200 OK POST /orders/customerOrderId/abc-123", "Response body"):
        assert words in page.text("requests"), words
    assert "409 Conflict POST /orders abc-123" in page.text("requests")
    assert "already exists" in page.text("requests")
    assert "createContact=true" in page.text("requests")
    assert "Order added abc-123 example@email.com" in page.text("events")
    assert "mailed once for each row" in page.text("events")
    assert "example@email.com transactional" in page.text("contacts")
    assert "sandbox-secret" not in get(service).text
    assert service.token not in get(service).text
    assert page.text("sections") == "Orders 1 Requests 4 Events 1 Contacts 1 Returns 0 Switches"


def test_newest_come_first_and_fifty_at_most(service: Service):
    for number in range(51):
        service.add({"customerOrderId": f"order-{number}"})
    page = read(service)

    assert "50 of 51 shown, newest first" in page.text("orders")
    assert "50 of 52 shown, newest first" in page.text("requests")
    assert page.text("orders").index("order-50") < page.text("orders").index("order-49")
    assert "order-0 " not in page.text("orders")
    keys = [attributes["data-key"] for _, attributes in page.elements if "data-key" in attributes]
    assert len(keys) == len(set(keys))


def test_hostile_values_are_text(service: Service):
    plain = [tag for tag, _ in read(service).elements]
    address = "o'x@example.com"
    service.add({"customerOrderId": HOSTILE, "shippingDetails": HOSTILE, "emailAddress": address}, createContact="true")
    service.update_by_shop_id(HOSTILE, {"status": HOSTILE}, note=HOSTILE)
    press(service, "return", customerOrderId=f"{HOSTILE}2")
    press(service, "contact", emailAddress=address, status="bounce")
    service.stage({"match": {"path": HOSTILE}, "status": 500, "reason": HOSTILE, "headers": {"X-Note": HOSTILE}})
    page = read(service)

    assert {"script", "img"} & set(plain) == {"script"}
    assert plain.count("script") == [tag for tag, _ in page.elements].count("script") == 1
    assert "img" not in [tag for tag, _ in page.elements]
    assert HOSTILE in page.text("orders")
    assert f"{HOSTILE}2" in page.text("returns")
    assert HOSTILE in page.text("faults")
    assert address in page.text("contacts")


def test_refusal_is_told_and_is_text(service: Service):
    answer = press(service, "switch", name=HOSTILE, value="1")

    assert answer.status_code == 400
    page = Page(answer.text)
    assert f"That was refused. {HOSTILE}: no such switch" in page.text("notice")
    assert [tag for tag, _ in page.elements].count("script") == 1


def test_invisible_characters_are_shown(service: Service):
    service.add({"customerOrderId": "a\x1b[31m\u202eb\u200b\x7f"})

    text = get(service).text

    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202e]", text.replace("\r", ""))
    assert r"a\u001b[31m\u202eb\u200b\u007f" in text


def test_long_texts_are_shortened(service: Service):
    lines = [{"name": f"line {number}"} for number in range(1000)]
    service.add({"customerOrderId": "x" * 255, "shippingDetails": "y" * 900_000, "lineItems": lines})
    answer = get(service)
    page = Page(answer.text)

    assert len(answer.content) < 120_000
    for words in ("… (255 characters)", "… (900,000 characters)", "1,000 items", "… and 975 more"):
        assert words in page.text("orders"), words


def test_settings_of_the_host_project_have_no_part_in_it():
    service = sandbox.Service()
    service.store.add_event({"kind": "forced", "customerOrderId": None, "orderId": "o", "emailAddress": None, **FIRED})
    request = Request("GET", "/_sandbox/", headers={"host": "localhost"}, remote_address="127.0.0.1")
    plain = service.answer(request).body

    with override_settings(LANGUAGE_CODE="de", USE_THOUSAND_SEPARATOR=True, TIME_ZONE="Asia/Tokyo", TEMPLATES=[]):
        assert service.answer(request).body == plain
    assert b"Forced" in plain
    service.close()


def test_host_that_is_none_is_not_repeated(service: Service):
    answer = service.session.get(f"{service.base_url}/_sandbox/", headers={"Host": '"><script>$(id)'}, timeout=30)

    assert "$(id)" not in answer.text


@pytest.mark.parametrize("name", ["outage", "slow", "flaky", "lost-tokens"])
def test_preset(service: Service, name: str):
    service.stage({"status": 500, "count": 3})

    answer = press(service, "preset", preset=name)

    assert (answer.status_code, answer.headers["Location"], answer.content) == (303, "./", b"")
    assert answer.headers["Cache-Control"] == "no-store"
    preset = next(preset for preset in service.control("GET", "presets") if preset["name"] == name)
    assert len(service.control("GET", "faults")) == len(preset["faults"])
    page = read(service)
    assert preset["about"] in page.text("verdict")
    (label,) = [a["aria-labelledby"] for tag, a in page.elements if tag == "button" and a.get("aria-current")]
    assert label == f"label-{name}"


def test_outage_and_clear(service: Service):
    token = service.token
    press(service, "preset", preset="outage")
    headers = {"Authorization": f"Bearer {token}"}
    for _ in range(2):
        assert service.call("GET", "/orders?customerOrderId=a", headers=headers).status_code == 503

    page = read(service)
    assert page.text("verdict").startswith("Outage Every call answers 503")
    assert "2 calls struck" in page.text("state")
    assert "All calls answer 503 Service Unavailable" in page.text("faults")
    assert "503 Service Unavailable GET /orders ?customerOrderId=a Fault" in page.text("requests")

    assert press(service, "clear-faults").headers["Location"] == "./"
    assert service.control("GET", "faults") == []
    assert service.call("GET", "/orders?customerOrderId=a", headers=headers).status_code == 204
    assert read(service).text("verdict").startswith("Answering normally")


def test_state_with_faults_of_ones_own(service: Service):
    service.stage({"match": {"method": "GET"}, "status": 500, "count": 1}, {"latency": 0.01})
    assert read(service).text("verdict").startswith("Faults are active")

    service.stage({"match": {"method": "GET"}, "status": 500, "count": 1})
    assert service.search(customerOrderId="a").status_code == 500
    page = read(service)
    assert page.text("verdict").startswith("Answering normally The faults have struck all the calls")
    assert "1 call struck" in page.text("state")
    assert "1 none to come" in page.text("faults")


def test_preset_that_has_struck_is_over(service: Service):
    press(service, "preset", preset="lost-tokens")
    reason(service.search(customerOrderId="a"), 403)

    page = read(service)

    assert page.text("verdict").startswith("Answering normally")
    assert "Active" not in page.text("faults").partition("Faults that are set")[0]


def test_remove_fault(service: Service):
    service.stage({"status": 500}, {"status": 502}, {"status": 503})

    assert press(service, "remove-fault", fault="1").headers["Location"] == "./#faults"
    assert [fault["status"] for fault in service.control("GET", "faults")] == [500, 503]

    assert press(service, "remove-fault", fault="7").status_code == 303
    assert press(service, "remove-fault", fault="-1").status_code == 400
    assert [fault["status"] for fault in service.control("GET", "faults")] == [500, 503]


def test_revoke_tokens(service: Service):
    headers = {"Authorization": f"Bearer {service.token}"}

    assert press(service, "revoke-tokens").status_code == 303

    reason(service.call("GET", "/orders?customerOrderId=a", headers=headers), 403)


def test_reset(service: Service):
    service.add(coffee_mug_order(), createContact="true")
    service.stage({"latency": 0.01})

    assert press(service, "reset").headers["Location"] == "./"

    assert service.control("GET", "orders") == service.control("GET", "faults") == []


def test_switches(service: Service):
    assert press(service, "switch", name="orderDateOnUpdate", value="take").headers["Location"] == "./#switches"
    press(service, "switch", name="accessTokenSeconds", value="60")
    press(service, "switch", name="clockSkewSeconds", value="-5")
    press(service, "switch", name="requiredOnAdd", value="customerOrderId, emailAddress")
    switches = service.control("GET", "switches")
    assert switches["orderDateOnUpdate"] == "take"
    assert (switches["accessTokenSeconds"], switches["clockSkewSeconds"]) == (60, -5)
    assert switches["requiredOnAdd"] == ["customerOrderId", "emailAddress"]
    page = read(service)
    assert page.text("switches").count("Changed") == 4
    assert "Switches 4 changed" in page.text("sections")

    for name, value in (("orderDateOnUpdate", "maybe"), ("accessTokenSeconds", "1.5"), ("requiredOnAdd", "nothing")):
        assert press(service, "switch", name=name, value=value).status_code == 400
    assert service.control("GET", "switches") == switches

    press(service, "reset-switches")
    assert "Changed" not in read(service).text("switches")


def test_every_switch_can_be_set_to_what_it_is(service: Service):
    before = service.control("GET", "switches")
    for name, value in before.items():
        text = ", ".join(value) if isinstance(value, list) else str(value)
        assert press(service, "switch", name=name, value=text).status_code == 303, name
    assert service.control("GET", "switches") == before


def test_contact_and_return(service: Service):
    answer = press(service, "contact", emailAddress="a@example.com", status="bounce")
    assert (answer.status_code, answer.headers["Location"]) == (303, "./#contacts")
    answer = press(service, "return", customerOrderId="ä-1")
    assert (answer.status_code, answer.headers["Location"]) == (303, "./#returns")

    (contact,) = service.control("GET", "contacts")
    assert (contact["emailAddress"], contact["status"]) == ("a@example.com", "bounce")
    assert [taken["customerOrderId"] for taken in service.control("GET", "returns")] == ["ä-1"]
    page = read(service)
    assert "a@example.com bounce" in page.text("contacts")
    assert "ä-1" in page.text("returns")


@pytest.mark.parametrize(
    ("form", "named"),
    [
        ({"preset": "outage"}, "action"),
        ({"action": "explode"}, "action"),
        ({"action": "preset"}, "preset"),
        ({"action": "preset", "preset": "explode"}, "preset"),
        ({"action": "remove-fault", "fault": "x"}, "fault"),
        ({"action": "switch", "value": "1"}, "name"),
        ({"action": "contact"}, "emailAddress"),
        ({"action": "contact", "emailAddress": "nobody", "status": "active"}, "emailAddress"),
        ({"action": "contact", "emailAddress": "a@example.com", "status": "happy"}, "status"),
        ({"action": "return"}, "customerOrderId"),
        ({"action": "return", "customerOrderId": ""}, "customerOrderId"),
    ],
)
def test_wrong_form(service: Service, form: dict[str, str], named: str):
    before = snapshot(service)

    answer = service.session.post(f"{service.base_url}/_sandbox/", data=form, allow_redirects=False, timeout=30)

    assert answer.status_code == 400
    assert named in Page(answer.text).text("notice")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert snapshot(service) == before


def test_form_of_another_kind(service: Service):
    answer = service.session.post(f"{service.base_url}/_sandbox/", json={"action": "reset"}, timeout=30)

    assert answer.status_code == 415
    assert "application/x-www-form-urlencoded" in Page(answer.text).text("notice")


def test_form_of_another_site(service: Service):
    service.add(coffee_mug_order(), createContact="true")
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        url = f"{service.base_url}/_sandbox/"
        answer = service.session.post(url, data={"action": "reset"}, headers=headers, timeout=30)
        assert answer.status_code == 403, headers
    assert len(service.orders()) == 1


@pytest.mark.parametrize(
    ("fault", "calls", "effect"),
    [
        (Fault(status=503, reason="down"), "All calls", "answer 503 Service Unavailable: down, without taking effect"),
        (Fault(Match("/orders", "POST"), drop=True), "All POST calls to /orders", "close the connection"),
        (Fault(Match(customer_order_id="a"), reset=True), "All calls about order a", "reset the connection"),
        (Fault(probability=0.25, timeout=True, apply="after"), "25% of calls", "never answer, after taking effect"),
        (
            Fault(skip=2, seconds=30, latency=1, jitter=2, fade=True),
            "after the first 2 for 30 s",
            "wait 1 to 3 s, less",
        ),
        (Fault(latency=0.5), "All calls", "wait 0.5 s"),
        (Fault(truncate=True), "All calls", "break off half way through the answer"),
        (Fault(drip=5), "All calls", "spread the answer over 5 s"),
        (Fault(revoke_tokens=True), "All calls", "end all access tokens"),
        (Fault(status=429, headers={"Retry-After": "7"}), "All calls", "Retry-After: 7"),
        (Fault(status=599), "All calls", "answer 599:"),
    ],
)
def test_faults_in_words(fault: Fault, calls: str, effect: str):
    board = FaultBoard()
    board.set([fault])
    (described,) = board.describe()

    row = fault_row(described)

    assert calls in row["calls"]
    assert effect in row["effect"]
    assert (row["hits"], row["to_come"]) == ("0", "no limit")


def test_body_is_laid_out_without_a_change():
    shown = show_body('{"a":[1.50,1E400,-0,{"b":"\\u001b<é"}],"c":{},"d":[],"e":null,"f":true}')

    assert shown.splitlines() == [
        "{",
        '  "a": [',
        "    1.50,",
        "    1E400,",
        "    -0,",
        "    {",
        r'      "b": "\u001b<é"',
        "    }",
        "  ],",
        '  "c": {},',
        '  "d": [],',
        '  "e": null,',
        '  "f": true',
        "}",
    ]


@pytest.mark.parametrize("text", ["a=b&c=***", '{"a":1,"a":2}', '{"a":', "1" * 5000, "null"])
def test_body_that_cannot_be_laid_out_is_shown_as_it_was_sent(text: str):
    assert show_body(text) == text


def test_excerpts_are_bounded():
    assert len(show_body("x" * 65_536)) < 17_000
    assert len(show_json([["x" * 1_000] * 1_000] * 1_000)) < 17_000
    assert "…" in show_body("[" * 500 + "]" * 500)
    assert len(show_body("[" * 60_000)) < 17_000
    assert shorten("x" * 101) == "x" * 100 + " … (101 characters)"
    assert shorten("a\nb\t\x00\ud800") == r"a b \u0000\ud800"
