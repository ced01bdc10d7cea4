"""How long personal data of old orders is kept; ``test_prune`` has how long attempts are."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone

from bronto_orders import tasks
from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import claims, engine, retention
from bronto_orders.models import DbNow, Order
from tests.factories import OrderFactory
from tests.fakes import FakeBronto

pytestmark = pytest.mark.django_db(transaction=True)


def privacy(**days: int) -> Any:
    return override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": {}}, "PRIVACY": days})


def ordered(days: int, **columns: Any) -> Order:
    """An order of so many days ago that Bronto has had since."""
    placed = timezone.now() - timedelta(days=days)
    order: Order = OrderFactory(
        **{"order_date": placed, "origin_ip": "203.0.113.7", "origin_user_agent": "Browser/1", **columns}
    )
    engine.deliver("default")
    Order.objects.filter(pk=order.pk).update(synced_at=placed)
    order.refresh_from_db()
    return order


def test_nothing_goes_by_default(bronto: FakeBronto) -> None:
    ordered(3000)
    assert retention.forget() == 0


def test_client_addresses_of_old_orders(bronto: FakeBronto) -> None:
    old, young = ordered(31), ordered(29)
    with privacy(IP_DAYS=30):
        assert retention.forget() == 1
        assert retention.forget() == 0
    forgotten = Order.objects.get(pk=old.pk)
    assert forgotten.origin_ip is None
    assert forgotten.origin_user_agent == "Browser/1"
    assert "originIp" not in forgotten.last_sent
    assert forgotten.last_sent["originUserAgent"] == "Browser/1"
    assert Order.objects.get(pk=young.pk).origin_ip == "203.0.113.7"


def test_user_agents(bronto: FakeBronto) -> None:
    ordered(31)
    with privacy(USER_AGENT_DAYS=30):
        assert retention.forget() == 1
    assert (Order.objects.get().origin_ip, Order.objects.get().origin_user_agent) == ("203.0.113.7", "")
    assert "originUserAgent" not in Order.objects.get().last_sent


def test_marks_nothing(bronto: FakeBronto) -> None:
    order = ordered(31)
    with privacy(IP_DAYS=30, USER_AGENT_DAYS=30, LAST_SENT_DAYS=30):
        retention.forget()
    assert not Order.objects.owed().exists()
    assert Order.objects.get().revision == order.revision


def test_an_order_that_is_being_sent_is_left_to_the_next_time(bronto: FakeBronto) -> None:
    ordered(31).save()
    claims.claim("default", 1, bronto_settings.delivery, using="default")
    with privacy(IP_DAYS=30, LAST_SENT_DAYS=30):
        assert retention.forget() == 0


def test_an_order_without_a_date_is_as_old_as_what_was_sent(bronto: FakeBronto) -> None:
    order = ordered(0, order_date=None)
    with privacy(IP_DAYS=30):
        assert retention.forget() == 0
        Order.objects.filter(pk=order.pk).update(synced_at=DbNow(-31 * 86400))
        assert retention.forget() == 1


def test_in_batches_of_one_age(bronto: FakeBronto) -> None:
    placed = timezone.now() - timedelta(days=31)
    for _ in range(5):
        ordered(31, order_date=placed)
    with privacy(IP_DAYS=30):
        assert retention.forget(batch_size=2) == 5
    assert not Order.objects.filter(origin_ip__isnull=False).exists()


def test_what_was_last_sent(bronto: FakeBronto) -> None:
    old, young = ordered(31, tax_amount="0.28"), ordered(29)
    with privacy(LAST_SENT_DAYS=30):
        assert retention.forget() == 1
        assert retention.forget() == 0
    forgotten = Order.objects.get(pk=old.pk)
    assert (forgotten.last_sent, forgotten.last_sent_hash) == (None, "")
    assert forgotten.bronto_order_id == old.bronto_order_id
    assert Order.objects.get(pk=young.pk).last_sent


def test_after_that_nothing_is_taken_for_certain(bronto: FakeBronto) -> None:
    """What the shop empties is cleared at Bronto, though nobody remembers that it was sent."""
    order = ordered(31, shipping_details="By bike")
    with privacy(LAST_SENT_DAYS=30):
        retention.forget()
    Order.objects.filter(pk=order.pk).update(shipping_details="")
    engine.deliver("default")
    operation, key, body, _options = bronto.calls[-1]
    assert (operation, key) == ("update", order.bronto_order_id)
    assert body["shippingDetails"] is None


def test_a_later_update_leaves_brontos_copy_of_the_address_alone(bronto: FakeBronto) -> None:
    ordered(31)
    with privacy(IP_DAYS=30):
        retention.forget()
    Order.objects.update(shipped=True)
    engine.deliver("default")
    assert "originIp" not in bronto.calls[-1][2]


def test_the_task(bronto: FakeBronto) -> None:
    ordered(31)
    with privacy(IP_DAYS=30):
        tasks.prune()
    assert Order.objects.get().origin_ip is None
