from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.staticfiles import finders
from django.test import Client
from django.utils import timezone

from bronto_orders.models import Order, Tombstone
from tests.admin.conftest import LIST, staff, url
from tests.factories import OrderFactory

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_bronto")]

EMAIL = "jane.roe@example.com"
TOMBSTONES = "/admin/bronto_orders/tombstone/"


def choose(client: Client, *orders: Order, **more: Any) -> Any:
    chosen = {"action": "erase_customers", "_selected_action": [order.pk for order in orders]}
    return client.post(LIST, {**chosen, **more}, follow=True)


@pytest.fixture
def orders() -> list[Order]:
    OrderFactory(email_address="john@example.com")
    return [OrderFactory(email_address=EMAIL), OrderFactory(email_address=EMAIL.upper())]


def test_the_page_asks_and_changes_nothing(admin_client: Client, orders: list[Order]) -> None:
    page = choose(admin_client, orders[0]).content.decode()
    assert f"{EMAIL}: 2 orders of all accounts" in page
    assert "<strong>2 orders</strong>" in page
    assert not Tombstone.objects.exists()


def test_erases_all_orders_of_the_customer(admin_client: Client, admin_user: Any, orders: list[Order]) -> None:
    page = choose(admin_client, orders[0], confirmed="1").content.decode()
    assert "2 orders are erased here" in page
    assert list(Order.objects.exclude(email_address="").values_list("email_address", flat=True)) == ["john@example.com"]
    assert set(Tombstone.objects.values_list("trigger", flat=True)) == {f"admin:{admin_user.pk}"}
    entries = {entry.object_repr: entry.get_change_message() for entry in LogEntry.objects.all()}
    assert entries == {order.customer_order_id: "Erased with its customer." for order in orders}


def test_needs_a_permission_of_its_own(orders: list[Order]) -> None:
    page = choose(staff("view_order", "change_order", "resync_order"), orders[0], confirmed="1").content.decode()
    assert "Erase the customers" not in page
    assert not Tombstone.objects.exists()


def test_addresses_are_masked_for_those_who_may_not_see_them(orders: list[Order]) -> None:
    page = choose(staff("view_order", "erase_customer"), orders[0]).content.decode()
    assert EMAIL not in page
    assert "j…@example.com: 2 orders" in page


def test_orders_without_an_address(admin_client: Client) -> None:
    page = choose(admin_client, OrderFactory(email_address=""), confirmed="1").content.decode()
    assert "None of the selected orders carries an e-mail address." in page
    assert not Tombstone.objects.exists()


def test_not_too_many_at_once(admin_client: Client) -> None:
    page = choose(admin_client, *OrderFactory.create_batch(11), confirmed="1").content.decode()
    assert "Erase at most 10 customers at once." in page
    assert not Tombstone.objects.exists()


class TestTombstones:
    @pytest.fixture(autouse=True)
    def erased(self, admin_client: Client, orders: list[Order]) -> None:
        choose(admin_client, *orders, confirmed="1")
        refused, _waiting = Tombstone.objects.order_by("pk")
        Tombstone.objects.filter(pk=refused.pk).update(due_at=None, message="Bronto refused to delete the order: no.")
        self.refused = refused

    def test_the_list(self, admin_client: Client, orders: list[Order]) -> None:
        page = admin_client.get(TOMBSTONES).content.decode()
        assert all(order.customer_order_id in page for order in orders)
        assert "Bronto refused to delete the order: no." in page
        assert "jane" not in page

    @pytest.mark.parametrize(("state", "count"), [("owed", 1), ("refused", 1), ("done", 0)])
    def test_by_state(self, admin_client: Client, state: str, count: int) -> None:
        found = admin_client.get(TOMBSTONES, {"state": state}).context["cl"].result_count
        assert found == count

    def test_one(self, admin_client: Client) -> None:
        page = admin_client.get(f"{TOMBSTONES}{self.refused.pk}/change/").content.decode()
        assert "admin" in page
        assert 'type="submit"' not in page.partition("content-main")[2]

    def test_try_again(self, admin_client: Client) -> None:
        chosen = {"action": "try_again", "_selected_action": [self.refused.pk]}
        page = admin_client.post(TOMBSTONES, chosen, follow=True).content.decode()
        assert "1 deletion is tried again." in page
        assert not Tombstone.objects.refused().exists()

    def test_not_what_would_delete_another_order(self, admin_client: Client) -> None:
        Tombstone.objects.filter(pk=self.refused.pk).update(kind=Tombstone.Kind.DELETED)
        chosen = {"action": "try_again", "_selected_action": [self.refused.pk]}
        page = admin_client.post(TOMBSTONES, chosen, follow=True).content.decode()
        assert "1 deletion is forgotten: there is an order with that number again." in page
        assert "0 deletions are tried again." in page
        assert not Tombstone.objects.filter(pk=self.refused.pk).exists()

    def test_who_may_see_and_try(self) -> None:
        assert staff("view_order", username="a").get(TOMBSTONES).status_code == 403
        assert b"Try again" in staff("erase_customer", username="b").get(TOMBSTONES).content
        assert b"Try again" not in staff("view_tombstone", username="c").get(TOMBSTONES).content


class TestPagesOfAnErasedOrder:
    @pytest.fixture(autouse=True)
    def erased(self, admin_client: Client, orders: list[Order]) -> None:
        choose(admin_client, *orders, confirmed="1")
        self.order = orders[0]

    def test_it_is_being_deleted_until_bronto_has_confirmed(self, admin_client: Client) -> None:
        page = admin_client.get(url("change", self.order)).content.decode()
        assert "being deleted at Bronto" in page
        assert "Bronto is still to confirm the deletion." in page
        assert f'href="{TOMBSTONES}?q={self.order.customer_order_id}"' in page
        assert "shopper&#x27;s visit" not in page
        Tombstone.objects.update(due_at=None)
        assert "to be deleted at Bronto" in admin_client.get(url("change", self.order)).content.decode()
        Tombstone.objects.update(done_at=timezone.now())
        page = admin_client.get(url("change", self.order)).content.decode()
        assert "not at Bronto" in page
        assert "Bronto is still to confirm" not in page

    def test_only_who_may_see_deletions_is_led_there(self) -> None:
        page = staff("view_order").get(url("change", self.order)).content.decode()
        assert "Erased with its customer" in page
        assert TOMBSTONES not in page

    def test_the_comparison_says_one_thing(self, admin_client: Client) -> None:
        page = admin_client.get(url("diff", self.order)).content.decode()
        assert page.count("The customer was erased; the order is never sent again.") == 1
        for gone in ("<button", "bronto-diff", "bronto-push", "Show all fields", "Read again"):
            assert gone not in page.partition('id="content-main"')[2].partition("</main>")[0]

    def test_a_comparison_of_before_queues_nothing(self, admin_client: Client) -> None:
        page = admin_client.post(url("diff_push", self.order), {"what": "all"}, follow=True).content.decode()
        assert page.count("The customer was erased; the order is never sent again.") == 2
        assert not Order.objects.owed().filter(pk=self.order.pk).exists()


def test_the_button_is_red(admin_client: Client, orders: list[Order]) -> None:
    page = choose(admin_client, orders[0]).content.decode()
    assert 'class="default bronto-danger" value="Erase for good"' in page
    path = finders.find("bronto_orders/admin.css")
    assert isinstance(path, str)
    rule = Path(path).read_text().partition(".bronto .bronto-danger {")[2].partition("}")[0]
    assert "--button-bg: var(--delete-button-bg, #ba2121);" in rule  # white on it: 6.5 to 1
