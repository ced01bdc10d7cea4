from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from bronto_orders.delivery.resync import Options, start_run
from bronto_orders.models import AccountStatus, Order, ResyncRun
from tests.admin.conftest import LIST, staff
from tests.factories import OrderFactory, acknowledge

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_bronto")]
RUNS = "/admin/bronto_orders/resyncrun/"


@pytest.fixture
def orders() -> list[Order]:
    orders: list[Order] = OrderFactory.create_batch(4)
    for order in orders:
        acknowledge(order)
    return orders


@pytest.fixture
def run(orders: list[Order]) -> ResyncRun:
    return start(trigger="command")


def start(**options: Any) -> ResyncRun:
    trigger = options.pop("trigger", "command")
    return start_run(Order.objects.all(), trigger=trigger, options=Options(**options))[0]


def page(run: ResyncRun, verb: str = "change") -> str:
    return f"{RUNS}{run.pk}/{verb}/"


def rows() -> list[Any]:
    return [*Order.objects.order_by("pk").values(), *ResyncRun.objects.order_by("pk").values()]


def flat(response: Any) -> str:
    return " ".join(response.content.decode().split())


def test_the_page_shows_how_far_it_is(admin_client, orders, run):
    acknowledge(orders[0])
    Order.objects.filter(pk=orders[1].pk).update(
        sync_state="rejected", sync_reason="refused", sync_message="Because <b>.", due_at=None
    )
    orders[2].delete()
    before = rows()
    text = flat(admin_client.get(page(run)))
    assert '<progress class="bronto-progress" max="4" value="3"' in text
    assert "3 of 4 orders are done." in text
    assert "data-refresh" in text
    assert "Because &lt;b&gt;." in text
    for state, count in [("synced", 1), ("rejected", 1), ("pending", 1)]:
        query = f"resync_run={run.pk}&sync_state__exact={state}"
        assert f'href="{LIST}?{query.replace("&", "&amp;")}"' in text
        listed = admin_client.get(f"{LIST}?{query}")
        assert len(listed.context["cl"].result_list) == count
        assert f"Only orders of resync {run.pk} are shown." in flat(listed)
        assert page(run) in flat(listed)
    assert "in a later resync" in text
    assert "Only orders of resync" not in flat(admin_client.get(LIST))
    assert rows() == before


def test_a_run_that_is_over(admin_client, orders, run):
    for order in orders:
        acknowledge(order)
    text = flat(admin_client.get(page(run)))
    assert "Done: 4 orders." in text
    assert "data-refresh" not in text
    assert "Cancel this resync" not in text
    Order.objects.filter(pk=orders[0].pk).update(sync_state="rejected", acked_revision=1, due_at=None)
    assert "Done, but 1 of 4 orders was not sent." in flat(admin_client.get(page(run)))
    Order.objects.filter(pk=orders[1].pk).update(sync_state="skipped", acked_revision=1, due_at=None)
    assert "Done, but 2 of 4 orders were not sent." in flat(admin_client.get(page(run)))


def test_the_page_says_who_and_how(admin_client, orders):
    user = User.objects.get()
    text = flat(admin_client.get(page(start(trigger=f"admin:{user.pk}", force=True, trigger_events=True))))
    assert f"<dd>{user.get_username()}</dd>" in text
    assert "Even if unchanged. With workflows." in text
    assert "Only if changed, without workflows." in flat(admin_client.get(page(start())))


def test_silence_is_noticed(admin_client, run):
    warning = "Nobody has queued orders for a while."
    ResyncRun.objects.update(finished_at=None)
    assert warning not in flat(admin_client.get(page(run)))
    ResyncRun.objects.update(heartbeat=timezone.now() - timedelta(minutes=2))
    assert warning in flat(admin_client.get(page(run)))


def test_orders_that_nobody_tries_are_noticed(admin_client, orders, run):
    warning = "None of the orders has been tried yet."
    assert warning not in flat(admin_client.get(page(run)))
    ResyncRun.objects.update(finished_at=timezone.now() - timedelta(minutes=2))
    assert warning in flat(admin_client.get(page(run)))
    acknowledge(orders[0])
    assert warning not in flat(admin_client.get(page(run)))


def test_held_accounts_are_named_and_no_time_is_promised(admin_client, orders, run):
    acknowledge(orders[0])
    ResyncRun.objects.update(started_at=timezone.now() - timedelta(minutes=1), finished_at=timezone.now())
    AccountStatus.objects.create(account="default", paused=True)
    AccountStatus.objects.create(account="outlet", paused=True)
    text = flat(admin_client.get(page(run)))
    assert "The account “default” is paused. Its orders wait until somebody resumes it." in text
    assert "outlet" not in text
    assert "1 of 4 orders are done. </p>" in text.replace("done.</p>", "done. </p>")
    for order in orders[1:]:
        acknowledge(order)
    assert "is paused" not in flat(admin_client.get(page(run)))


def test_the_time_left(admin_client, orders, run):
    acknowledge(orders[0])
    ResyncRun.objects.update(started_at=timezone.now() - timedelta(minutes=1))
    assert "1 of 4 orders are done. About 3 min left." in flat(admin_client.get(page(run)))


def test_the_page_takes_as_many_queries_for_many_orders(admin_client, orders, run, django_assert_num_queries):
    for _ in range(2):
        with django_assert_num_queries(7):  # session, user, run, outcomes, gates, names, failures
            admin_client.get(page(run))
        for order in OrderFactory.create_batch(20):
            acknowledge(order)
        run = start()


def test_the_list(admin_client, orders, run, django_assert_num_queries):
    failed = start()
    ResyncRun.objects.filter(pk=failed.pk).update(error="Gone.")
    for more in range(2):
        with django_assert_num_queries(5):  # session, user, count, rows, how many orders wait
            response = admin_client.get(RUNS)
        assert len(response.context["cl"].result_list) == 2 + more
        start()
    text = flat(response)
    assert page(run) in text
    assert "bronto-rejected" in text
    assert labels(response) == ["done", "failed", "sending"]
    ResyncRun.objects.filter(pk=run.pk).update(finished_at=None)
    assert labels(admin_client.get(RUNS)) == ["done", "done", "failed", "queueing"]


def labels(response: Any) -> list[str]:
    return re.findall(r'class="bronto-badge [^>]*>(.*?)<', response.content.decode())


def test_cancel(admin_client, orders, run):
    text = flat(admin_client.get(page(run)))
    assert f'action="{page(run, "cancel")}"' in text
    response = admin_client.post(page(run, "cancel"))
    assert response["Location"] == page(run)
    run.refresh_from_db()
    assert (run.cancelled_at is not None, run.taken_back) == (True, 4)
    assert not Order.objects.owed().exists()
    assert LogEntry.objects.get().get_change_message() == "Cancelled."
    text = flat(admin_client.get(page(run)))
    assert "The resync is cancelled." in text
    assert "Cancelled. 4 orders were taken back, and nothing more is sent." in text
    assert "taken back" in text
    assert "Cancel this resync" not in text
    assert "The resync was over already." in flat(admin_client.post(page(run, "cancel"), follow=True))
    assert LogEntry.objects.count() == 1


def test_get_cancels_nothing(admin_client, run):
    before = rows()
    for path in [page(run, "cancel"), page(run), RUNS, page(run, "history")]:
        admin_client.get(path)
    assert admin_client.get(page(run, "cancel")).status_code == 405
    assert admin_client.post(page(run)).status_code == 405
    assert rows() == before


def test_csrf_is_checked(run):
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    before = rows()
    assert client.post(page(run, "cancel")).status_code == 403
    assert rows() == before


#: Permissions (None: no staff), and what they get: list, page, cancelling, adding, deleting.
PEOPLE = {
    "staff without permissions": ([], (403, 403, 403, 403, 403)),
    "viewer of orders": (["view_order"], (403, 403, 403, 403, 403)),
    "viewer of resyncs": (["view_resyncrun"], (200, 200, 403, 403, 403)),
    "resyncer": (["view_order", "resync_order"], (200, 200, 302, 403, 403)),
    "resyncer who may change": (["change_order", "resync_order"], (200, 200, 302, 403, 403)),
    "resyncer who may not look": (["resync_order"], (403, 403, 403, 403, 403)),
}


@pytest.mark.parametrize("who", PEOPLE)
def test_staff_get_what_their_permissions_say(run, who):
    permissions, expected = PEOPLE[who]
    client = staff(*permissions)
    got = [client.get(RUNS), client.get(page(run)), client.post(page(run, "cancel"))]
    got += [client.get(f"{RUNS}add/"), client.post(page(run, "delete"), {"post": "yes"})]
    assert tuple(response.status_code for response in got) == expected
    run.refresh_from_db()
    assert (run.cancelled_at is not None) is (expected[2] == 302)
    assert ("Cancel this resync" in flat(staff(*permissions, username="other").get(page(start())))) is (
        expected[2] == 302
    )


@pytest.mark.parametrize("who", ["nobody", "customer"])
def test_others_are_sent_to_the_login_page(run, client, who):
    if who == "customer":
        client.force_login(User.objects.create_user("customer"))
    for response in (client.get(page(run)), client.post(page(run, "cancel"))):
        assert response["Location"].startswith("/admin/login/")
    run.refresh_from_db()
    assert run.cancelled_at is None


@pytest.mark.parametrize("object_id", ["999999", "nonsense", "_5F"])
def test_an_unknown_run_is_not_found(admin_client, object_id):
    assert admin_client.get(f"{RUNS}{object_id}/change/").status_code == 404
    assert admin_client.post(f"{RUNS}{object_id}/cancel/").status_code == 404


def test_no_inline_script_or_style(admin_client, run):
    text = flat(admin_client.get(page(run)))
    own = text.partition('id="content-main"')[2].partition('id="footer"')[0]
    assert own
    assert "<script" not in own
    assert "style=" not in own
    assert "bronto_orders/runs.js" in text
