from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone

from bronto_orders.delivery import hints
from bronto_orders.models import AccountStatus, Order, SyncState
from tests.admin.conftest import LIST, staff, url
from tests.factories import OrderFactory

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_bronto")]
CHANGED = {"mode": "changed"}
ACTION = "resync_selected"


def rest(order: Order, state: SyncState = SyncState.SYNCED, **delivery: Any) -> Order:
    Order.objects.filter(pk=order.pk).update(sync_state=state, due_at=None, last_sent_hash="h", **delivery)
    order.refresh_from_db()
    return order


def resting(count: int, state: SyncState = SyncState.SYNCED) -> list[Order]:
    return [rest(order, state) for order in OrderFactory.create_batch(count)]


def rows() -> list[dict[str, Any]]:
    return list(Order.objects.order_by("pk").values())


def texts(response: Any) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


def choose(client: Client, *orders: Order, query: str = "", **more: Any) -> Any:
    return client.post(LIST + query, {"action": ACTION, "_selected_action": [order.pk for order in orders], **more})


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[set[str | None]]:
    calls: list[set[str | None]] = []
    monkeypatch.setattr(hints, "wake", lambda accounts, **kwargs: calls.append(accounts))
    return calls


def test_the_page_asks_and_changes_nothing(admin_client):
    order = rest(OrderFactory(customer_order_id="abc-1"))
    before = rows()
    response = admin_client.get(url("resync", order))
    page = response.content.decode()
    assert response.status_code == 200
    assert "You are about to send the order <strong>abc-1</strong>" in page
    for text in [
        "bronto-synced",
        "Send only what changed",
        "Send again even if unchanged",
        "Fire workflows",
        "Send 1 order",
    ]:
        assert text in page
    form = response.context["form"]
    assert (form["mode"].value(), bool(form["trigger_events"].value())) == ("changed", False)
    assert rows() == before
    assert not LogEntry.objects.exists()


def test_a_post_queues_the_order(admin_client, woken, django_capture_on_commit_callbacks):
    order = rest(OrderFactory(), SyncState.REJECTED)
    with django_capture_on_commit_callbacks(execute=True):
        response = admin_client.post(url("resync", order), CHANGED)
    assert response.status_code == 302
    assert response["Location"] == url("change", order)
    assert texts(response) == ["1 order queued."]
    order.refresh_from_db()
    user = User.objects.get()
    assert (order.sync_state, order.last_sent_hash, order.attempts) == ("pending", "h", 0)
    assert order.resync_options == {"trigger": f"admin:{user.pk}", "trigger_events": False}
    assert order.due_at is not None
    assert woken == [{"default"}]
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.user_id, entry.get_change_message()) == (
        str(order.pk), user.pk, "Queued to be sent to Bronto again."
    )  # fmt: skip


def test_the_answers_are_heeded(admin_client):
    order = rest(OrderFactory())
    admin_client.post(url("resync", order), {"mode": "force", "trigger_events": "on"})
    order.refresh_from_db()
    assert order.last_sent_hash == ""
    assert order.resync_options["trigger_events"] is True
    message = "Queued to be sent to Bronto again. Even if unchanged. With workflows."
    assert LogEntry.objects.get().get_change_message() == message


@pytest.mark.parametrize("data", [{}, {"mode": "everything"}])
def test_a_post_without_a_proper_answer_asks_again(admin_client, data):
    order = rest(OrderFactory())
    before = rows()
    response = admin_client.post(url("resync", order), data)
    assert response.status_code == 200
    assert "errorlist" in response.content.decode()
    assert rows() == before


def test_twice_is_harmless(admin_client):
    order = rest(OrderFactory())
    admin_client.post(url("resync", order), CHANGED)
    before = rows()
    response = admin_client.post(url("resync", order), CHANGED)
    assert texts(response)[-1] == "0 orders queued, 1 already queued."
    assert rows() == before


@pytest.mark.parametrize("method", ["put", "delete", "patch"])
def test_other_methods_are_refused(admin_client, method):
    assert getattr(admin_client, method)(url("resync", OrderFactory())).status_code == 405


@pytest.mark.parametrize("object_id", ["999999", "nonsense", "a/b", "_5F"])
def test_an_unknown_order_is_not_found(admin_client, object_id):
    assert admin_client.get(f"{LIST}{object_id}/resync/").status_code == 404


def test_csrf_is_checked():
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    order = rest(OrderFactory())
    before = rows()
    assert client.post(url("resync", order), CHANGED).status_code == 403
    token = client.get(url("resync", order)).context["csrf_token"]
    assert rows() == before
    assert client.post(url("resync", order), {**CHANGED, "csrfmiddlewaretoken": str(token)}).status_code == 302
    assert rows() != before


def test_the_action_asks_first(admin_client):
    one, two = resting(2)
    waiting = OrderFactory()
    rest(two, SyncState.SKIPPED)
    before = rows()
    response = choose(admin_client, one, two, waiting)
    page = response.content.decode()
    assert response.status_code == 200
    assert "You are about to send <strong>3 orders</strong>" in page
    assert [(count, "bronto-" in badge) for badge, count, _fate in response.context["states"]] == [(1, True)] * 3
    for order in (one, two, waiting):
        assert f'<input type="hidden" name="_selected_action" value="{order.pk}">' in page
        assert url("change", order) in page
    assert rows() == before


def test_the_action_applies_when_confirmed(admin_client, woken, django_capture_on_commit_callbacks):
    orders = [*resting(2), rest(OrderFactory(account="outlet"))]
    waiting = OrderFactory()
    spared = rest(OrderFactory())
    with django_capture_on_commit_callbacks(execute=True):
        response = choose(admin_client, *orders, waiting, query="?o=1", confirmed="1", **CHANGED)
    assert response.status_code == 302
    assert response["Location"] == f"{LIST}?o=1"
    assert texts(response) == ["3 orders queued, 1 already queued."]
    assert set(Order.objects.exclude(pk=spared.pk).values_list("sync_state", flat=True)) == {"pending"}
    spared.refresh_from_db()
    assert spared.sync_state == "synced"
    assert sorted(map(sorted, woken)) == [["default"], ["outlet"]]
    assert sorted(LogEntry.objects.values_list("object_id", flat=True)) == sorted(str(o.pk) for o in [*orders, waiting])


def test_all_pages_of_a_filtered_list(admin_client, woken, django_capture_on_commit_callbacks):
    rejected = resting(60, SyncState.REJECTED)
    synced = rest(OrderFactory())
    query = "?sync_state__exact=rejected"
    page = choose(admin_client, *rejected[-50:], query=query, select_across="1").content.decode()
    assert "<strong>60 orders</strong>" in page
    assert page.count('name="_selected_action"') == 1
    assert "and 50 more." in page
    with django_capture_on_commit_callbacks(execute=True):
        response = choose(admin_client, rejected[-1], query=query, select_across="1", confirmed="1", **CHANGED)
    assert texts(response) == ["60 orders queued."]
    assert Order.objects.filter(sync_state="pending").count() == 60
    synced.refresh_from_db()
    assert synced.sync_state == "synced"
    assert woken == [{"default"}]
    assert LogEntry.objects.count() == 60


def test_many_orders_go_in_statements_of_bounded_size(admin_client, monkeypatch):
    monkeypatch.setattr("bronto_orders.admin.resync.CHUNK", 2)
    orders = resting(5)
    response = choose(admin_client, *orders, confirmed="1", **CHANGED)
    assert texts(response) == ["5 orders queued."]


def test_asking_takes_as_many_queries_for_many_orders(admin_client, django_assert_num_queries):
    orders = resting(30)
    for chosen in (orders[:1], orders):
        with django_assert_num_queries(7):  # session, user, count of the list, counts by state, names, accounts, gates
            assert choose(admin_client, *chosen).status_code == 200


def test_nothing_happens_if_logging_fails(admin_client, monkeypatch):
    order = rest(OrderFactory())
    before = rows()

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("bronto_orders.admin.resync.resync", fail)
    with pytest.raises(RuntimeError):
        admin_client.post(url("resync", order), CHANGED)
    assert rows() == before
    assert not LogEntry.objects.exists()


def test_held_accounts_are_named(admin_client):
    order = rest(OrderFactory())
    other = rest(OrderFactory(account="outlet"))
    until = timezone.now() + timedelta(hours=1)
    AccountStatus.objects.create(account="default", held_until=until, held_message="Bronto is down.")
    AccountStatus.objects.create(account="outlet", paused=True)
    assert "“default” is held now, and its orders wait with it. Bronto is down." in _flat(
        admin_client.get(url("resync", order))
    )
    both = _flat(choose(admin_client, order, other))
    assert "“outlet” is paused. Its orders wait until somebody resumes it." in both
    assert "Bronto is down." in both
    AccountStatus.objects.update(held_until=timezone.now() - timedelta(hours=1), paused=False)
    assert "Bronto is down." not in _flat(choose(admin_client, order, other))


def _flat(response: Any) -> str:
    return " ".join(response.content.decode().split())


def test_the_trigger_holds_no_name():
    user = User.objects.create_superuser("jane@example.com", "jane@example.com")
    client = Client()
    client.force_login(user)
    order = rest(OrderFactory())
    client.post(url("resync", order), CHANGED)
    order.refresh_from_db()
    assert order.resync_options["trigger"] == f"admin:{user.pk}"


def test_the_action_is_offered_and_obeyed_with_the_permission_only():
    [order] = resting(1)
    before = rows()
    client = staff("view_order", "change_order", "delete_order")
    assert ACTION not in client.get(LIST).content.decode()
    response = choose(client, order, confirmed="1", **CHANGED)
    assert texts(response) == ["No action selected."]
    assert rows() == before
    allowed = staff("view_order", "resync_order", username="allowed")
    assert ACTION in allowed.get(LIST).content.decode()
    assert texts(choose(allowed, order, confirmed="1", **CHANGED)) == ["1 order queued."]
