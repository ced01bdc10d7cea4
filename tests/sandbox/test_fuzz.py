from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sandbox.samples import coffee_mug_order
from tests.sandbox.service import Service, reason

texts = st.text(st.characters(exclude_categories=()), max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)
names = st.sampled_from([*coffee_mug_order(), "states", "tid", "contactId", "messageId", "deliveryId", "orderSource"])
likely = st.sampled_from(
    [
        0,
        1,
        -1,
        4.27,
        "4.27",
        "2015-01-01",
        "2015-01-01T00:00:00Z",
        "PENDING",
        "PROCESSED",
        "USD",
        "::1",
        "",
        "ü",
        "🛒",
        [],
    ]
)
fields = st.dictionaries(names, likely | anything, max_size=4)
numbers = st.decimals(-(10**15) + 1, 10**15 - 1, places=6).filter(bool).map("{:f}".format)
# "." and ".." are left out: client libraries take them for steps in the path, even when they are encoded.
ids = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=255)
relaxed = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)


def post(service: Service, path: str, body: Any) -> Any:
    # json.dumps writes lone surrogates as escapes and NaN as it is, which a client library would not let pass.
    return service.call("POST", path, data=json.dumps(body), headers={"Content-Type": "application/json"})


@relaxed
@given(body=fields)
def test_any_body_is_taken_whole_or_refused(service: Service, body):
    service.reset()

    added = post(service, "/orders?createContact=true", {"customerOrderId": "new", **body})

    orders = service.orders()
    if added.status_code == 201:
        assert orders == [added.json()]
        assert service.get(added.json()["orderId"]).json() == added.json()
    else:
        reason(added, 400)
        assert orders == []


@relaxed
@given(body=fields)
def test_any_update_is_taken_whole_or_refused(service: Service, body):
    service.reset()
    before = service.add({"customerOrderId": "there"}).json()

    updated = post(service, "/orders/customerOrderId/there?createContact=true", body)

    if updated.status_code == 200:
        assert service.orders() == [updated.json()]
        assert updated.json()["orderId"] == before["orderId"]
    else:
        reason(updated, 400)
        assert service.orders() == [before]


@relaxed
@given(amounts=st.lists(numbers, min_size=1, max_size=5))
def test_any_amount_comes_back_as_it_was_sent(service: Service, amounts):
    service.reset()
    lines = ",".join(f'{{"unitPrice": {amount}}}' for amount in amounts)
    body = f'{{"customerOrderId": "a", "lineItems": [{lines}]}}'

    answer = service.call("POST", "/orders", data=body, headers={"Content-Type": "application/json"})

    returned = [line["unitPrice"] for line in json.loads(answer.text, parse_float=str, parse_int=str)["lineItems"]]
    assert returned == amounts


@relaxed
@given(customer_order_id=ids.filter(lambda text: text not in (".", "..")))
def test_any_id_is_found_by_its_path(service: Service, customer_order_id):
    service.reset()

    order = service.add({"customerOrderId": customer_order_id}).json()

    assert service.update_by_shop_id(customer_order_id, {}).json()["orderId"] == order["orderId"]
    assert service.search(customerOrderId=customer_order_id).json()[0]["orderId"] == order["orderId"]
