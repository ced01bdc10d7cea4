from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone

from bronto_orders.delivery import hints, resync
from bronto_orders.models import AccountStatus, Order, ResyncRun, SyncState
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


def page_of(run: ResyncRun) -> str:
    return f"/admin/bronto_orders/resyncrun/{run.pk}/change/"


def logged() -> dict[str, str]:
    return {entry.object_repr: entry.get_change_message() for entry in LogEntry.objects.all()}


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
    assert form["mode"].value() == "changed"
    assert not any(form[name].value() for name in ["send_tracking", "trigger_events", "force_events"])
    assert "second time</label>" not in page
    assert rows() == before
    assert not LogEntry.objects.exists()
    assert not ResyncRun.objects.exists()


def test_a_post_queues_the_order(admin_client, woken, django_capture_on_commit_callbacks):
    order = rest(OrderFactory(), SyncState.REJECTED)
    with django_capture_on_commit_callbacks(execute=True):
        response = admin_client.post(url("resync", order), CHANGED)
    run = ResyncRun.objects.get()
    assert response.status_code == 302
    assert response["Location"] == page_of(run)
    order.refresh_from_db()
    user = User.objects.get()
    assert (order.sync_state, order.last_sent_hash, order.attempts, order.resync_run) == ("pending", "h", 0, run)
    assert order.resync_options == {"trigger": f"admin:{user.pk}", "trigger_events": False}
    assert order.due_at is not None
    assert woken == [{"default"}]
    assert logged() == {
        str(order): "Queued to be sent to Bronto again.",
        str(run): "Resync of 1 order.",
    }
    assert set(LogEntry.objects.values_list("user_id", flat=True)) == {user.pk}


def test_the_answers_are_heeded(admin_client):
    order = rest(OrderFactory())
    admin_client.post(
        url("resync", order),
        {
            "mode": "force",
            **dict.fromkeys(["send_tracking", "trigger_events", "force_events", "force_confirmed"], "on"),
        },
    )
    order.refresh_from_db()
    assert order.last_sent_hash == ""
    del order.resync_options["trigger"]
    assert order.resync_options == {"trigger_events": True, "send_tracking": True, "force_events": True}
    message = "Queued to be sent to Bronto again. Even if unchanged. With tracking. With workflows. Events are forced."
    assert logged()[str(order)] == message


def test_forcing_events_is_asked_about_twice(admin_client):
    order = rest(OrderFactory())
    before = rows()
    first = {"mode": "force", "trigger_events": "on", "force_events": "on"}
    page = admin_client.post(url("resync", order), first)
    assert "Yes, customers may get the same messages a second time" in page.content.decode()
    assert page.context["form"].errors.keys() == {"force_confirmed"}
    quiet = admin_client.post(url("resync", order), {"mode": "force", "force_events": "on", "force_confirmed": "on"})
    assert quiet.context["form"].errors.keys() == {"force_events"}
    assert rows() == before
    assert not ResyncRun.objects.exists()
    assert admin_client.post(url("resync", order), {**first, "force_confirmed": "on"}).status_code == 302
    assert rows() != before


@pytest.mark.parametrize("data", [{}, {"mode": "everything"}])
def test_a_post_without_a_proper_answer_asks_again(admin_client, data):
    order = rest(OrderFactory())
    before = rows()
    response = admin_client.post(url("resync", order), data)
    assert response.status_code == 200
    assert "errorlist" in response.content.decode()
    assert rows() == before


def test_a_double_click_is_one_resync(admin_client):
    order = rest(OrderFactory())
    data = {**CHANGED, "token": admin_client.get(url("resync", order)).context["form"]["token"].value()}
    first = admin_client.post(url("resync", order), data)
    before = rows()
    second = admin_client.post(url("resync", order), data)
    assert second["Location"] == first["Location"]
    assert texts(second) == ["This resync was started already."]
    assert (ResyncRun.objects.count(), LogEntry.objects.count()) == (1, 2)
    assert rows() == before


def test_twice_is_harmless(admin_client):
    order = rest(OrderFactory())
    admin_client.post(url("resync", order), CHANGED)
    before = rows()
    admin_client.post(url("resync", order), CHANGED)
    assert list(ResyncRun.objects.values_list("queued", "already_queued")) == [(0, 1), (1, 0)]
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
    standing = [(count, "bronto-" in badge) for badge, _why, count, _fate in response.context["standing"]]
    assert standing == [(1, True)] * 3
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
    run = ResyncRun.objects.get()
    assert response["Location"] == page_of(run)
    assert (run.queued, run.already_queued) == (3, 1)
    assert set(Order.objects.exclude(pk=spared.pk).values_list("sync_state", flat=True)) == {"pending"}
    spared.refresh_from_db()
    assert spared.sync_state == "synced"
    assert sorted(map(sorted, woken)) == [["default"], ["outlet"]]
    assert logged().keys() == {str(one) for one in [*orders, waiting, run]}


def test_all_pages_of_a_filtered_list(admin_client, monkeypatch):
    monkeypatch.setattr("bronto_orders.delivery.selections.CHUNK", 10)
    rejected = resting(60, SyncState.REJECTED)
    synced = rest(OrderFactory())
    query = "?sync_state__exact=rejected&q=abc"
    page = choose(admin_client, *rejected[-50:], query=query, select_across="1").content.decode()
    assert "<strong>60 orders</strong>" in page
    assert page.count('name="_selected_action"') == 1
    assert "and 50 more." in page
    choose(admin_client, rejected[-1], query=query, select_across="1", confirmed="1", **CHANGED)
    run = ResyncRun.objects.get()
    assert (run.filters.keys(), run.total, run.queued) == ({"where"}, 60, 0)
    assert logged() == {str(run): "Resync of 60 orders."}
    late = rest(OrderFactory(), SyncState.REJECTED)
    assert not resync.advance_all(budget_seconds=60)
    assert Order.objects.filter(sync_state="pending").count() == 60
    synced.refresh_from_db()
    late.refresh_from_db()
    assert (synced.sync_state, late.sync_state) == ("synced", "rejected")


def test_many_chosen_orders_are_logged_as_one(admin_client, monkeypatch):
    monkeypatch.setattr("bronto_orders.admin.resync.LOGGED", 2)
    choose(admin_client, *resting(3), confirmed="1", **CHANGED)
    assert logged() == {str(ResyncRun.objects.get()): "Resync of 3 orders."}


def test_retrying_takes_the_rejected_alone(admin_client):
    rejected, skipped = resting(1, SyncState.REJECTED), resting(1, SyncState.SKIPPED)
    page = choose(admin_client, *rejected, *skipped, action="retry_rejected").content.decode()
    assert "<strong>1 order</strong>" in page
    assert '<input type="hidden" name="action" value="retry_rejected">' in page
    choose(admin_client, *rejected, *skipped, action="retry_rejected", confirmed="1", **CHANGED)
    assert list(Order.objects.filter(sync_state="pending")) == rejected


def test_there_is_nothing_to_ask_about(admin_client):
    (skipped,) = resting(1, SyncState.SKIPPED)
    response = choose(admin_client, skipped, action="retry_rejected")
    assert texts(response) == ["None of these orders is rejected."]
    assert response.status_code == 302
    Order.objects.all().delete()
    for action in ("resync_selected", "mark_as_ignored"):
        response = choose(admin_client, skipped, action=action)
        assert texts(response)[-1] == "None of these orders is there any more."
        assert response.status_code == 302


def test_a_second_click_leads_to_the_resync_though_no_order_is_rejected_any_more(admin_client):
    (rejected,) = resting(1, SyncState.REJECTED)
    data = {**CHANGED, "action": "retry_rejected", "confirmed": "1", "token": str(uuid.uuid4())}
    first, second = (choose(admin_client, rejected, **data) for _ in range(2))
    assert first["Location"] == second["Location"] == page_of(ResyncRun.objects.get())
    assert "This resync was started already." in texts(second)


def test_reasons_are_named_with_what_becomes_of_the_orders(admin_client, monkeypatch):
    monkeypatch.setattr("bronto_orders.admin.resync.NAMED", 1)
    orders = [*resting(2, SyncState.REJECTED), *resting(2, SyncState.SKIPPED), *resting(1)]
    for order, reason in zip(orders, ["refused", "refused", "no_contact", "invalid:currency", ""], strict=True):
        Order.objects.filter(pk=order.pk).update(sync_reason=reason)
    found = [(why, count) for _badge, why, count, _fate in choose(admin_client, *orders).context["standing"]]
    assert found[:2] == [("–", 1), ("refused", 2)]  # noqa: RUF001
    assert {found[2][0], found[3][0]} < {"no contact", "invalid currency", "other reasons"}
    assert [count for _why, count in found[2:]] == [1, 1]


def test_the_page_says_what_would_happen(admin_client):
    orders = resting(3)
    Order.objects.filter(pk=orders[1].pk).update(currency="QQQ", sync_state="skipped", due_at=None, sync_reason="")
    Order.objects.filter(pk=orders[2].pk).update(sync_state="skipped", due_at=None, sync_reason="ignored_by_staff")
    OrderFactory()
    chosen = choose(admin_client, *orders)
    across = choose(admin_client, *orders, select_across="1")
    assert [(what, count) for what, count, _more in chosen.context["forecast"]] == [("Sent", 2), ("Cannot be sent", 1)]
    assert [(what, count) for what, count, _more in across.context["forecast"]] == [
        ("Sent", 1), ("Cannot be sent", 1), ("Queued already", 1), ("Ignored by staff", 1),
    ]  # fmt: skip
    assert "invalid currency" in across.content.decode()


class TestIgnoring:
    def test_it_asks_first(self, admin_client):
        orders = resting(2, SyncState.REJECTED)
        before = rows()
        page = choose(admin_client, *orders, action="mark_as_ignored").content.decode()
        assert "<strong>2 orders</strong>" in page
        assert "until somebody sends them again" in page
        assert rows() == before

    def test_failed_and_waiting_orders_rest(self, admin_client):
        rejected, waiting = resting(1, SyncState.REJECTED)[0], OrderFactory()
        synced = resting(1)[0]
        orders = [rejected, waiting, synced]
        response = choose(admin_client, *orders, action="mark_as_ignored", confirmed="1")
        assert texts(response) == [
            "2 orders are ignored now.",
            "1 order was left alone: Bronto has it, or it is being sent.",
        ]
        assert set(Order.objects.ignored()) == {rejected, waiting}
        assert not Order.objects.owed().exists()
        assert logged() == {str(rejected): "Marked as ignored.", str(waiting): "Marked as ignored."}

    def test_too_many_at_once(self, admin_client, monkeypatch):
        monkeypatch.setattr("bronto_orders.admin.resync.IGNORED_AT_ONCE", 1)
        orders = resting(2, SyncState.REJECTED)
        response = choose(admin_client, *orders, action="mark_as_ignored", confirmed="1")
        assert texts(response) == ["Mark at most 1 orders as ignored at once."]
        assert not Order.objects.ignored().exists()


def test_asking_takes_as_many_queries_for_many_orders(admin_client, django_assert_num_queries):
    orders = resting(30)
    # Session, user, count of the list, whether they are there, the chosen, groups, keys of the sample, sample, items,
    # attempts, names, gates.
    for chosen in (orders[:1], orders):
        with django_assert_num_queries(12):
            assert choose(admin_client, *chosen).status_code == 200


def test_nothing_happens_if_logging_fails(admin_client, monkeypatch):
    order = rest(OrderFactory())
    before = rows()

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("bronto_orders.admin.resync.ResyncAdmin._log_resync", fail)
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


@pytest.mark.parametrize("action", [ACTION, "retry_rejected", "mark_as_ignored"])
def test_the_actions_are_offered_and_obeyed_with_the_permission_only(action):
    [order] = resting(1, SyncState.REJECTED)
    before = rows()
    client = staff("view_order", "change_order", "delete_order")
    assert action not in client.get(LIST).content.decode()
    response = choose(client, order, action=action, confirmed="1", **CHANGED)
    assert texts(response) == ["No action selected."]
    assert rows() == before
    allowed = staff("view_order", "resync_order", username="allowed")
    assert action in allowed.get(LIST).content.decode()
    assert choose(allowed, order, action=action, confirmed="1", **CHANGED).status_code == 302
    assert rows() != before
