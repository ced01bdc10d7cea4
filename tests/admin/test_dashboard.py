from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import django
import pytest
from django.contrib.admin.models import LogEntry
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from bronto_orders.admin import chart, dashboard, situations
from bronto_orders.client.tokens import CacheTokenStore, Token, store_key
from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import environment
from bronto_orders.delivery.figures import HOUR, Hour, Traffic
from bronto_orders.delivery.status import Overview
from bronto_orders.models import AccountStatus, DbNow, Order, ResyncRun, SyncAttempt, Tombstone
from tests.admin.conftest import LIST, staff
from tests.factories import OrderFactory

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_bronto")]
TWO = {"ACCOUNTS": {"default": {}, "outlet": {}}}
TOKEN = "a-token-that-nobody-sees"


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def address() -> str:
    return reverse("admin:bronto_orders_dashboard")


def page(client: Client, query: str = "") -> str:
    response = client.get(address() + query)
    assert response.status_code == 200
    return response.content.decode()


def words(client: Client) -> str:
    """Return the page's text as a reader has it."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", page(client, "?live")))


def make(count: int, account: str = "default", **delivery: Any) -> None:
    made = OrderFactory.create_batch(count, account=account)
    Order.objects.filter(pk__in=[order.pk for order in made]).update(**delivery)


def hold(account: str = "default", **columns: Any) -> AccountStatus:
    columns.setdefault("held_until", timezone.now() + timedelta(seconds=90))
    return AccountStatus.objects.create(account=account, **columns)


def press(client: Client, command: str, account: str = "default") -> Any:
    return client.post(address(), {"command": command, "account": account}, follow=True)


class TestPage:
    def test_counts_lead_to_the_list(self, admin_client):
        make(1)
        make(2, sync_state="synced", due_at=None)
        make(3, sync_state="rejected", due_at=None, sync_reason="id_taken")
        content = page(admin_client)
        assert "<strong>3</strong> rejected" in content
        for query, count in {
            "sync_state__exact=pending": 1,
            "sync_state__exact=synced": 2,
            "sync_state__exact=rejected&amp;reason=id_taken": 3,
        }.items():
            assert f'href="{LIST}?{query}"' in content
            listed = admin_client.get(f"{LIST}?{query}".replace("&amp;", "&")).context["cl"]
            assert listed.result_count == count

    def test_links_name_the_account_where_there_are_several(self, admin_client, settings):
        settings.BRONTO_ORDERS = TWO
        make(1, "outlet", sync_state="skipped", due_at=None, sync_reason="invalid:currency")
        query = "?sync_state__exact=skipped&reason=invalid%3Acurrency&account=outlet"
        assert f'href="{LIST}{query.replace("&", "&amp;")}">invalid currency</a>' in page(admin_client)
        assert admin_client.get(LIST + query).context["cl"].result_count == 1

    def test_the_most_frequent_reasons_only(self, admin_client):
        for field in range(dashboard.REASONS + 2):
            make(1, sync_state="rejected", due_at=None, sync_reason=f"invalid:field_{field}")
        content = page(admin_client)
        assert content.count("reason=invalid") == dashboard.REASONS
        assert "and 2 other reasons" in content

    def test_the_last_hours_as_chart_and_as_table(self, admin_client):
        order = OrderFactory()
        SyncAttempt.objects.bulk_create(
            SyncAttempt(
                order=order, account="default", revision=1, operation="add", trigger="signal",
                started_at=timezone.now(), duration_ms=1, outcome=outcome,
            )
            for outcome in ["accepted", "accepted", "deferred"]
        )  # fmt: skip
        content = page(admin_client)
        assert "2 deliveries" in content
        assert "1 failure<" in content
        assert content.count('class="bronto-up"') == content.count('class="bronto-down"') == 1
        assert re.search(r'<td class="bronto-number">2</td>\s*<td class="bronto-number">1</td>', content)
        assert content.count("<title>") == 24 + 1
        assert "Nothing was sent." not in content

    def test_tracking_that_bronto_did_not_take(self, admin_client, monkeypatch, settings):
        settings.BRONTO_ORDERS = TWO
        make(1, tid="3.a", has_tracking=True)
        make(2, tid="", has_tracking=False)
        make(1, "outlet", tid="3.a", has_tracking=None)
        assert "Tracking not taken" not in page(admin_client)
        make(2, tid="3.a", has_tracking=False)
        make(1, "outlet", tracking_cookie_name="tid_a", tracking_cookie_value="3.a", has_tracking=False)
        content = page(admin_client)
        for account, text in {"default": "2 orders among", "outlet": "1 order among"}.items():
            query = f"?tracking=refused&account={account}"
            assert f'<a href="{LIST}{query.replace("&", "&amp;")}">{text} the newest 10,000</a>' in content
            assert admin_client.get(LIST + query).context["cl"].result_count == int(text[0])

    def test_a_day_without_traffic(self, admin_client):
        content = page(admin_client)
        assert "Nothing was sent." in content
        assert "<rect" not in content

    def test_the_token_is_described_and_not_shown(self, admin_client):
        assert "none kept; the next order fetches one" in page(admin_client)
        account = bronto_settings.account("default")
        key = store_key(account.token_url, account.client_id, account.client_secret)
        CacheTokenStore().save(key, Token(TOKEN, TOKEN, int(timezone.now().timestamp()) - 600, 3630.0))
        content = page(admin_client)
        assert "valid for 50 min" in content
        assert TOKEN not in content
        hold(held_reason="auth")
        assert "valid for" not in page(admin_client)

    def test_the_part_that_changes_comes_alone(self, admin_client):
        whole, part = page(admin_client), page(admin_client, "?live")
        assert "<html" in whole
        assert "<html" not in part
        assert 'id="bronto-card-1"' in whole
        assert 'id="bronto-card-1"' in part
        assert f'data-url="{address()}?live"' in whole

    @pytest.mark.parametrize("count", [1, 12])
    def test_the_queries_are_few_however_many_there_are(self, admin_client, settings, django_assert_num_queries, count):
        settings.BRONTO_ORDERS = {"ACCOUNTS": {f"shop-{n}": {} for n in range(count)}}
        for n in range(count):
            make(2, f"shop-{n}", sync_state="rejected", due_at=None, sync_reason=f"invalid:field_{n}")
            hold(f"shop-{n}", held_reason="outage")
        environment.environment("default")  # which a process asks once
        # Session, user; orders, owed, under way, given up; deletions; accounts; attempts of past hours, twice, and of
        # this one; tracking that was not taken, twice; resyncs.
        with django_assert_num_queries(14):
            page(admin_client)

    def test_deletions_that_are_not_done_are_told(self, admin_client):
        assert "Deletions at Bronto" not in page(admin_client).partition("bronto-card-1")[2]
        made = {"account": "default", "kind": "erased", "trigger": "test"}
        Tombstone.objects.create(customer_order_id="waits", due_at=timezone.now(), **made)
        Tombstone.objects.create(customer_order_id="refused", **made)
        assert "1 waiting, 1 refused" in page(admin_client)

    def test_settings_that_are_wrong_are_told(self, admin_client, settings):
        settings.BRONTO_ORDERS = {"ACCOUNTS": "wrong"}
        assert "ACCOUNTS" in page(admin_client)
        settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": {"CONCURRENCY": 0}}}
        assert "The account&#x27;s settings are wrong." in page(admin_client)

    def test_running_resyncs(self, admin_client):
        user = admin_client.get(LIST).wsgi_request.user
        waiting = ResyncRun.objects.create(
            trigger=f"admin:{user.pk}", filters={"keys": []}, options={}, total=40, cursor=9
        )
        over = ResyncRun.objects.create(
            trigger="command", filters={"keys": []}, options={}, total=1, cursor=9, queued=1, finished_at=timezone.now()
        )
        sent = ResyncRun.objects.create(
            trigger="command", filters={"keys": []}, options={}, total=3, cursor=9, queued=3,
            started_at=timezone.now(), finished_at=timezone.now(),
        )  # fmt: skip
        make(1, sync_state="pending", due_at=timezone.now(), resync_run=sent, revision=2, resync_revision=2)
        content = page(admin_client)
        assert '<progress value="0" max="40"' in content
        assert "Waits for a worker" in content
        assert user.get_username() in content
        assert '<progress value="2" max="3"' in content
        assert "2 of 3 orders" in content
        pages = {one: reverse("admin:bronto_orders_resyncrun_change", args=[one.pk]) for one in (waiting, over, sent)}
        assert [one for one, url in pages.items() if url in content] == [waiting, sent]

    def test_nothing_inline(self, admin_client):
        make(1, sync_state="rejected", due_at=None, sync_reason="refused")
        hold(held_reason="outage")
        content = page(admin_client)
        own = content.partition('id="content-main"')[2].partition('id="footer"')[0]
        assert not re.search(r"<script|<style| style=| on\w+=", own)

    def test_hostile_names_and_messages(self, admin_client, settings):
        hostile = "\"'></p><script>alert(1)</script>"
        settings.BRONTO_ORDERS = {"ACCOUNTS": {hostile: {}, "default": {}}}
        make(1, hostile, sync_state="rejected", due_at=None, sync_reason=hostile)
        hold(hostile, held_reason="outage", held_message=hostile)
        for content in (page(admin_client), admin_client.get(LIST).content.decode()):
            assert "<script>alert" not in content
            assert "&lt;script&gt;alert" in content

    @pytest.mark.skipif(django.VERSION < (6, 0), reason="Django has no CSP of its own yet")
    def test_a_strict_policy_is_kept(self, admin_client, settings):
        from django.utils.csp import CSP

        settings.SECURE_CSP = {"default-src": [CSP.NONE], "style-src": [CSP.NONCE], "script-src": [CSP.NONCE]}
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.csp.ContentSecurityPolicyMiddleware"]
        processors = settings.TEMPLATES[0]["OPTIONS"]["context_processors"]
        options = {"context_processors": [*processors, "django.template.context_processors.csp"]}
        settings.TEMPLATES = [{**settings.TEMPLATES[0], "OPTIONS": options}]
        response = admin_client.get(address())
        nonce = str(response.context["csp_nonce"])
        content = response.content.decode()
        assert f'dashboard.css" nonce="{nonce}">' in content
        assert f'dashboard.js" defer nonce="{nonce}">' in content


class TestCommands:
    def test_pause_and_resume(self, admin_client):
        assert "“default” is paused." in press(admin_client, "pause").content.decode()
        assert AccountStatus.objects.get().paused
        assert "was paused already" in press(admin_client, "pause").content.decode()
        assert "goes on" in press(admin_client, "resume").content.decode()
        assert not AccountStatus.objects.get().paused
        assert [(entry.object_id, entry.change_message) for entry in LogEntry.objects.order_by("pk")] == [
            ("default", "Paused."), ("default", "Resumed."),
        ]  # fmt: skip

    def test_probe(self, admin_client):
        hold(held_reason="outage", breaker_state="open")
        assert "is tried now" in press(admin_client, "probe").content.decode()
        status = AccountStatus.objects.get()
        assert (status.held_until, status.breaker_state) == (None, "open")
        assert LogEntry.objects.get().change_message == "Hold ended to try at once."
        assert "was not held any more" in press(admin_client, "probe").content.decode()
        assert LogEntry.objects.count() == 1

    @pytest.mark.parametrize(
        ("columns", "expected"),
        [
            ({"held_until": None}, ["pause"]),
            ({"held_reason": "outage"}, ["probe", "pause"]),
            ({"paused": True}, ["resume"]),
            ({"held_until": None, "breaker_state": "open"}, ["pause"]),
        ],
    )
    def test_only_what_makes_sense_is_offered(self, admin_client, columns, expected):
        hold(**columns)
        assert re.findall(r'name="command" value="(\w+)"', page(admin_client)) == expected

    @pytest.mark.parametrize(
        "data", [("explode", "default"), ("", "default"), ("pause", "nobody"), ("pause", ""), ("pause", "a\x00")]
    )
    def test_nothing_else_can_be_done(self, admin_client, data):
        assert press(admin_client, *data).status_code == 404
        assert not AccountStatus.objects.exists()

    def test_accounts_that_the_settings_lost_can_be_resumed(self, admin_client):
        hold("former", paused=True)
        press(admin_client, "resume", "former")
        assert not AccountStatus.objects.get().paused

    def test_looking_changes_nothing(self, admin_client):
        hold(held_reason="outage")
        before = AccountStatus.objects.values().get()
        for query in ("", "?live", "?command=pause&account=default"):
            page(admin_client, query)
        assert AccountStatus.objects.values().get() == before
        assert admin_client.put(address()).status_code == 405

    def test_forms_are_guarded_against_forgery(self):
        client = Client(enforce_csrf_checks=True)
        client.force_login(staff("view_order", "change_accountstatus").get(address()).wsgi_request.user)
        assert client.post(address(), {"command": "pause", "account": "default"}).status_code == 403
        assert not AccountStatus.objects.exists()


class TestPermissions:
    @pytest.mark.parametrize(
        ("permissions", "sees", "acts"),
        [
            ([], 403, 403),
            (["change_accountstatus"], 403, 403),
            (["view_order"], 200, 403),
            (["view_order", "resync_order"], 200, 403),
            (["view_order", "view_accountstatus"], 200, 403),
            (["view_order", "change_accountstatus"], 200, 302),
        ],
    )
    def test_each_gets_what_they_may(self, permissions, sees, acts):
        client = staff(*permissions)
        response = client.get(address())
        assert response.status_code == sees
        assert client.get(address() + "?live").status_code == sees
        assert ("bronto-commands" in response.content.decode()) is (acts == 302)
        assert client.post(address(), {"command": "pause", "account": "default"}).status_code == acts
        assert AccountStatus.objects.filter(paused=True).exists() is (acts == 302)

    def test_others_are_sent_to_the_login_page(self, client):
        for response in (client.get(address()), client.post(address(), {"command": "pause", "account": "default"})):
            assert response["Location"].startswith("/admin/login/")
        assert not AccountStatus.objects.exists()


class TestWaysThere:
    def test_from_the_app_index(self):
        assert address() in staff("view_order").get("/admin/bronto_orders/").content.decode()
        others = staff("view_syncattempt", username="other")
        assert address() not in others.get("/admin/bronto_orders/").content.decode()

    def test_from_the_list(self, admin_client):
        content = admin_client.get(LIST).content.decode()
        assert f'<li class="bronto-tool"><a href="{address()}">Dashboard</a></li>' in content
        assert "nothing is lost" not in content
        assert address() not in admin_client.get(LIST + "?_popup=1").content.decode()

    def test_the_list_says_who_is_stopped(self, admin_client):
        hold("uk", paused=True)
        hold("default", held_reason="outage")
        hold("outlet", held_until=timezone.now() - timedelta(seconds=1), held_reason="outage")
        content = admin_client.get(LIST).content.decode()
        assert "“default” is held: Bronto does not answer as it should. “uk” is paused. Orders wait" in content
        assert "outlet" not in content


def overview(**fields: Any) -> Overview:
    return Overview(account="default", configured=fields.pop("configured", True), **fields)


def told(account: Overview, *, enabled: bool = True) -> situations.Situation:
    return situations.situation(account, enabled=enabled)


class TestSituations:
    def test_an_outage_from_end_to_end(self):
        account = overview(
            held_until=timezone.now() + timedelta(seconds=30, milliseconds=500),
            held_code="outage",
            held_reason="Bronto answered 503; trying again",
            last_success_at=timezone.now() - timedelta(minutes=12),
            counts={"pending": 1234, "sending": 1},
        )
        outage = told(account)
        assert (outage.kind, outage.label) == ("bad", "outage")
        assert outage.headline == "Bronto does not answer as it should."
        what, since, following, orders = (answer for _question, answer in outage.answers)
        assert what == "Bronto answered 503; trying again."
        assert since == "Bronto last took an order 12 min ago."
        assert following.startswith("In 30 s a few orders find out")
        assert orders.startswith("1,235 orders wait. They are kept")

    @pytest.mark.parametrize(
        ("account", "kind", "headline"),
        [
            (overview(), "good", "There are no orders yet."),
            (overview(counts={"synced": 3}), "good", "All is well. No order waits."),
            (overview(counts={"rejected": 1}), "good", "All is sent. 1 rejected order waits for somebody"),
            (overview(counts={"pending": 2, "sending": 1}), "busy", "3 orders are on their way"),
            (overview(counts={"pending": 2}, oldest_due_seconds=400), "warning", "Orders are due, and none is"),
            (overview(counts={"sending": 2}, oldest_due_seconds=400), "busy", "2 orders are on their way"),
            (
                overview(counts={"pending": 2}, oldest_due_seconds=400, last_success_at=timezone.now()),
                "busy", "2 orders are on their way",
            ),
            (overview(paused=True, held_until=timezone.now()), "warning", "Sending is paused."),
            (overview(held_until=timezone.now(), held_code="throttled"), "warning", "Bronto asked for a pause."),
            (overview(held_until=timezone.now(), held_code="auth"), "bad", "Bronto refuses the account's credentials."),
            (overview(held_until=timezone.now(), held_code="configuration"), "bad", "What answers at the account's"),
            (overview(held_until=timezone.now(), held_code="new"), "bad", "Sending is held."),
            (overview(breaker_open=True), "warning", "Finding out whether Bronto is back."),
            (overview(foreign=True), "bad", "Another copy of this shop"),
            (overview(configured=False), "bad", "The shop's settings do not have this account."),
            (overview(misconfigured="CONCURRENCY must be", paused=True), "bad", "The account's settings are wrong."),
        ],
    )  # fmt: skip
    def test_each_has_its_words(self, account, kind, headline):
        found = told(account)
        assert found.kind == kind
        assert found.headline.startswith(headline)
        if kind in ("bad", "warning"):
            assert "What happens next" in dict(found.answers)
            assert "nothing is lost" in dict(found.answers)["Your orders"]
        assert all(answer and "%(" not in answer for _question, answer in found.answers)

    def test_delivery_switched_off(self):
        assert told(overview(), enabled=False).headline == "Delivery is switched off."


class TestChart:
    def hours(self, *traffic: Traffic | None) -> list[Hour]:
        start = timezone.now()
        return [Hour(start + HOUR * at, None if one is None else {"default": one}) for at, one in enumerate(traffic)]

    def test_both_directions_have_one_scale(self):
        drawn = chart.chart("default", self.hours(Traffic(60, 0), Traffic(30, 30)))
        first, second = drawn.bars
        assert first.up_height == pytest.approx(2 * second.up_height, abs=0.1)
        assert second.down_height == pytest.approx(second.up_height, abs=0.1)
        assert first.up_y >= 0
        assert first.up_y + first.up_height == pytest.approx(drawn.axis, abs=0.01)
        assert drawn.axis + second.down_height <= chart.HEIGHT
        assert (drawn.delivered, drawn.failed, drawn.most) == (90, 30, 60)

    def test_the_least_is_seen(self):
        drawn = chart.chart("default", self.hours(Traffic(100_000, 1), Traffic(1, 0)))
        assert drawn.bars[0].down_height == drawn.bars[1].up_height == chart.LEAST
        assert drawn.axis + chart.LEAST <= chart.HEIGHT

    def test_hours_that_are_not_counted_yet(self):
        drawn = chart.chart("default", self.hours(None, Traffic(1, 0)))
        assert not drawn.complete
        assert drawn.bars[0].traffic is None
        assert drawn.bars[0].up_height == 0
        assert chart.chart("other", self.hours(Traffic(1, 0))).delivered == 0


def test_orders_that_nobody_sends(admin_client):
    make(2, due_at=DbNow(-900))
    text = words(admin_client)
    assert "Orders are due, and none is being sent." in text
    assert "due for 15 min" in text
