"""The admin's pages speak German and Turkish: no sentence of ours is left in English."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone, translation

from bronto_orders.delivery.resync import Options, start_run
from bronto_orders.models import AccountStatus, Order, Tombstone
from tests.admin.conftest import LIST, FakeBronto, url
from tests.admin.test_form import attempt
from tests.factories import OrderFactory
from tests.test_translations import LANGUAGES, PACKAGE, in_sources

pytestmark = pytest.mark.django_db
#: What is the same in all languages: an item's name, addresses, and a field whose German label is its name.
DATA = re.compile(r"coffee mug|@example\.com|^name name$|^- select an option -$")
RUNS = "/admin/bronto_orders/resyncrun/"
#: Pages, and some of what each says.
PAGES = {
    "index": ["Delivery to Bronto", "Whether all works, what waits, and why."],
    "dashboard": [
        "Bronto does not answer as it should.", "What happens next", "The last 24 hours", "order number taken",
        "Why orders were rejected or skipped", "Running resyncs", "change in the shop",
    ],
    "list": ["Send selected orders to Bronto again", "Orders wait meanwhile; nothing is lost.", "past 24 hours"],
    "form": ["Nothing to do", "Request and answer", "account held", "accepted, but changed", "change in the shop"],
    "diff": ["changed here", "Resync these differences", "What the verdicts mean", "Byte for byte"],
    "confirm": ["What would happen", "Fire workflows", "Tried again from the start.", "ignored by staff"],
    "ignore": ["Mark as ignored", "Ignored orders are not sent to Bronto"],
    "erase": ["Erase for good", "Nobody can undo this.", "1 order of all accounts"],
    "deletions": ["Try again what Bronto has refused", "customer erased", "deleted by the shop"],
    "run": ["Cancel this resync", "Orders by outcome", "Only if changed, without workflows.", "queued already"],
    "journal": ["change in the shop", "account held", "Search by order number, written in full."],
    "attempt": ["add: account held", "taken differently"],
    "gates": ["consecutive failures", "held because", "outage at Bronto"],
    "runs": ["left out", "taken back", "queued already"],
}  # fmt: skip


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def order(bronto: FakeBronto) -> Order:
    """A shop in which much is going on; the order that it returns differs from what Bronto has."""
    order = OrderFactory(customer_order_id="N-1", items=2)
    bronto.take(order)
    order.grand_total += 1
    order.line_items.all()[0].delete()
    order.save()
    bronto.take(OrderFactory())
    for reason, state in {"id_taken": "rejected", "ignored_by_staff": "skipped", "invalid:currency": "skipped"}.items():
        other = OrderFactory()
        Order.objects.filter(pk=other.pk).update(sync_state=state, sync_reason=reason, due_at=None)
    AccountStatus.objects.create(
        account="default", held_until=timezone.now() + timedelta(hours=1), held_reason="outage", breaker_state="open"
    )
    for kind in Tombstone.Kind:
        Tombstone.objects.create(account="default", customer_order_id=kind, kind=kind, trigger="signal")
    attempt(order, outcome="held", answer_excerpt="{}")
    attempt(order, differences=["grandTotal"])
    return order


@pytest.fixture
def pages(order: Order) -> dict[str, Any]:
    chosen = {"_selected_action": [str(order.pk)], "select_across": "0"}
    run, _new = start_run(Order.objects.filter(sync_reason=""), trigger="signal", options=Options())
    return {
        "index": "/admin/bronto_orders/",
        "dashboard": "/admin/bronto_orders/order/dashboard/",
        "list": LIST,
        "form": url("change", order),
        "diff": url("diff", order) + "?all=1",
        "confirm": (LIST, {**chosen, "select_across": "1", "action": "resync_selected"}),
        "ignore": (LIST, {**chosen, "action": "mark_as_ignored"}),
        "erase": (LIST, {**chosen, "action": "erase_customers"}),
        "deletions": "/admin/bronto_orders/tombstone/",
        "run": f"{RUNS}{run.pk}/change/",
        "journal": "/admin/bronto_orders/syncattempt/",
        "attempt": f"/admin/bronto_orders/syncattempt/{order.sync_attempts.earliest('pk').pk}/change/",
        "gates": "/admin/bronto_orders/accountstatus/",
        "runs": RUNS,
    }


def spoken(client: Client, page: Any, language: str) -> str:
    """Return a page in a language, with all that it says in its texts and its attributes."""
    with translation.override(language):
        response = client.post(*page) if isinstance(page, tuple) else client.get(page)
    assert response.status_code == 200
    content: str = response.content.decode()
    return plain(re.sub(r"</?(strong|code)>", "", content))


def texts(page: str) -> set[str]:
    """Return the texts of a page of two words or more, each that stands between two tags by itself."""
    shown = re.sub(r"<(script|style|pre)\b.*?</\1>", "", page, flags=re.DOTALL)
    return {text.strip() for text in re.findall(r">([^<>]+)<", shown) if re.search(r"[a-z]{2}\W+[a-z]{2}", text)}


def plain(text: str) -> str:
    return " ".join(html.unescape(text).split()).casefold()


def fragments() -> set[str]:
    """Return the pieces of our texts that stand between placeholders and are long enough to be told apart."""
    texts = {plain(text) for _context, *forms in in_sources() for text in forms}
    pieces = {piece.strip() for text in texts for piece in re.split(r"%\(\w+\)[a-z]|\{\w*\}|</?\w+>", text)}
    return {piece for piece in pieces if len(piece) >= 8 and " " in piece}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", PAGES)
def test_no_english_is_left(admin_client, pages, name, language):
    english, translated = (spoken(admin_client, pages[name], tongue) for tongue in ("en", language))
    said = {piece for piece in fragments() if piece in english}
    assert [text for text in PAGES[name] if plain(text) not in english] == []
    assert {piece for piece in said if piece in translated} == set()
    assert [text for text in texts(english) & texts(translated) if not DATA.search(text)] == []
    assert f'lang="{language}"' in translated


def test_scripts_hold_no_texts():
    scripts = sorted(PACKAGE.glob("static/**/*.js"))
    assert scripts
    for script in scripts:
        code = re.sub(r"/\*.*?\*/|//[^\n]*", "", script.read_text(), flags=re.DOTALL)
        quoted = re.findall(r"""(["'`])((?:(?!\1)[^\\\n]|\\.)*)\1""", code)
        assert [
            text
            for _quote, text in quoted
            if re.search(r"[A-Za-z]{2} [a-z]{2}", text) and not text.startswith(("use strict", "bronto-"))
        ] == []
