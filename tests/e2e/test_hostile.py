"""Hostile texts in all places where others than staff write: nothing of them runs, and no page falls apart."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.db import models
from django.utils import timezone

from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import engine
from bronto_orders.delivery.clients import client_for
from bronto_orders.delivery.resync import Options, start_run
from bronto_orders.models import AccountStatus, LineItem, Order, ResyncRun, SyncAttempt
from bronto_orders.models.deliverable import Deliverable
from bronto_orders.testing import Sandbox
from tests.e2e.conftest import PHONE, Staff
from tests.factories import OrderFactory

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

HOME = "/admin/bronto_orders/"
LIST = f"{HOME}order/"

RUN = "window.__xss=1"
HOSTILE = {
    "script": f"<script>{RUN}</script>",
    "script after the end of one": f"</script><script>{RUN}</script>",
    "script after the end of a text": f"</textarea></title></style></pre><script>{RUN}</script>",
    "script in capitals": f"<ScRiPt>{RUN}</sCrIpT >",
    "image": f"<img src=x onerror={RUN}>",
    "svg": f"<svg/onload={RUN}><animate onbegin={RUN} attributeName=x>",
    "details": f"<details open ontoggle={RUN}>",
    "frame": '<iframe srcdoc="<script>parent.__xss=1</script>" src="javascript:parent.__xss=1">',
    "attribute": f'" autofocus onfocus={RUN} x="',
    "attribute in single quotes": f"' autofocus onfocus={RUN} x='",
    "attribute in backquotes": f"`><img src=`x` onerror={RUN}>",
    "link": f"javascript:{RUN}",
    "link in disguise": f" jAvAsCrIpT:{RUN}//https://example.com/",
    "data link": "data:text/html,<script>opener.__xss=1</script>",
    "entities": f"&lt;img src=x onerror={RUN}&gt;&#60;script&#62;{RUN}",
    "template": "{{ settings.SECRET_KEY }}{% debug %}${7*7}#{7*7}%(x)s%n{0}",
    "comment": f"<!--><script>{RUN}</script>--><![CDATA[<script>{RUN}</script>]]>",
    "style": "</style><style>*{display:none!important}</style><link rel=stylesheet href=//example.com/x.css>",
    "form": "<form action=//example.com id=changelist-form><button>Go</button><base href=//example.com/>",
    "right to left": "\u202e\u2067\u200fgnp.exe\u2066\u202b",
    "combined and joined": "👩‍👩‍👧‍👦" * 12 + "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A" * 3 + "\ufeff\u200b",
    "one long word": "W" * 2_000,
    "many lines": "line\r\n" * 40 + "\t\x1b[31mred\x07",
}


#: Columns with a form that texts like these do not have; some are filled by hand below.
FORMED = {field.name for field in Deliverable._meta.get_fields()} | {
    "account", "customer_order_id", "currency", "email_address", "operation", "outcome", "trigger",
}  # fmt: skip


def filled(thing: Any, text: str) -> dict[str, str]:
    """Return the text for each column of the row that takes any text."""
    return {
        field.name: text[: field.max_length] if field.max_length else text
        for field in thing._meta.concrete_fields
        if isinstance(field, models.CharField | models.TextField) and field.name not in FORMED
    }


class Siege:
    """An order whose every text is hostile, in the shop, in the journal and at Bronto."""

    def __init__(self, sandbox: Sandbox, text: str, person: User) -> None:
        self.text = text
        sandbox.recover()
        self.order = OrderFactory(items=1)
        engine.deliver("default")
        self.order.refresh_from_db()
        self._tell_bronto(text)
        mine = Order.objects.filter(pk=self.order.pk)
        mine.update(customer_order_id=text[:255], **filled(self.order, text))
        for item in self.order.line_items.all():
            LineItem.objects.filter(pk=item.pk).update(**filled(item, text))
        # What a header can hold of it.
        sandbox.fail_next(status=400, reason=" ".join(text.split()).encode("ascii", "ignore").decode().strip() or "x")
        engine.deliver("default")
        mine.update(
            sync_state="rejected",
            sync_reason=text[:100],
            sync_message=text,
            email_address=text[:254],
            currency=text[:3],
            due_at=None,
        )
        self.attempt = SyncAttempt.objects.filter(order=self.order).latest("pk")
        trigger = f"admin:{person.pk}"
        SyncAttempt.objects.filter(pk=self.attempt.pk).update(
            differences=[text], trigger=trigger, **filled(self.attempt, text)
        )
        self.run, _new = start_run(mine, trigger=trigger, options=Options())
        ResyncRun.objects.filter(pk=self.run.pk).update(error=text, finished_at=timezone.now())
        # An account that only rows know of.
        AccountStatus.objects.create(
            account=text[:64],
            held_until=timezone.now() + timedelta(hours=1),
            held_reason=text[:32],
            held_message=text,
        )
        self.stray = OrderFactory(account=text[:64], customer_order_id=f"stray {text}"[:255])
        Order.objects.filter(pk=self.stray.pk).update(
            sync_state="rejected", sync_reason=text[:100], sync_message=text, due_at=None
        )

    def _tell_bronto(self, text: str) -> None:
        other = f"{text} there"
        client_for(bronto_settings.account("default")).update(
            self.order.bronto_order_id,
            {
                "shippingDetails": other,
                "shippingTrackingUrl": other,
                "originUserAgent": other,
                "lineItems": [
                    {"name": other, "description": other, "sku": other, "other": other, "category": other,
                     "imageUrl": other, "productUrl": other, "quantity": 1, "unitPrice": 1.0},
                ],
            },
        )  # fmt: skip

    @property
    def pages(self) -> list[str]:
        order, account = f"{LIST}{self.order.pk}", quote(self.text[:64])
        return [
            f"{order}/change/",
            f"{order}/diff/?all=1",
            f"{order}/resync/",
            f"{order}/delete/",
            f"{LIST}{self.stray.pk}/diff/",
            f"{HOME}syncattempt/{self.attempt.pk}/change/",
            f"{HOME}resyncrun/{self.run.pk}/change/",
            f"{HOME}accountstatus/{account}/change/",
            f"{LIST}?{urlencode({'q': self.text[:500], 'reason': self.text[:500]})}",
        ]


@pytest.fixture
def superuser(transactional_db: None) -> User:
    return User.objects.create_superuser(HOSTILE["image"], password="admin")


@pytest.fixture
def sandbox(bronto_sandbox: Sandbox, settings: Any) -> Sandbox:
    settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": bronto_sandbox.account}}
    return bronto_sandbox


#: What no page of the admin has unless a text became markup, and links that would run something.
INTRUDERS = """() => [...document.querySelectorAll('*')].filter((one) =>
    ['BASE', 'IFRAME', 'ANIMATE', 'OBJECT'].includes(one.nodeName)
    || (one.nodeName === 'STYLE' && one.textContent)
    || (one.nodeName === 'SCRIPT' && !one.src && one.type !== 'application/json' && one.textContent)
    || [...one.attributes].some(({name, value}) => name.startsWith('on')
        || (['href', 'src', 'action', 'formaction'].includes(name)
            && new URL(value, location).origin !== location.origin))
).map((one) => one.outerHTML.slice(0, 300))"""
#: Buttons that cannot be reached without scrolling sideways.
OUT_OF_REACH = """() => [...document.querySelectorAll('#content button, #content [type=submit], #content h1')].filter(
    (one) => one.checkVisibility() && !one.closest('.results')
).filter((one) => {
    const box = one.getBoundingClientRect();
    return box.width < 1 || box.height < 1 || box.left < 0 || box.right > innerWidth + 1;
}).map((one) => one.outerHTML.slice(0, 200))"""


def look_through(staff: Staff) -> list[str]:
    """Return what is wrong with the page that is open."""
    page = staff.page
    staff.unfold()
    found = [f"an intruder: {one}" for one in page.evaluate(INTRUDERS)]
    found += [f"overflow: {one}" for one in staff.overflow()]
    found += [f"out of reach: {one}" for one in page.evaluate(OUT_OF_REACH)]
    if page.evaluate("window.__xss"):
        found.append("something ran")
    if not page.locator("#content h1").first.is_visible():
        found.append("no heading")
    return [f"{page.url[:120]}: {one}" for one in found]


def none(found: list[str]) -> None:
    if found:
        pytest.fail("\n".join(found))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_an_order(text: str, staff: Staff, sandbox: Sandbox, superuser: User) -> None:
    siege = Siege(sandbox, text, superuser)
    staff.shows(viewport=PHONE)
    found = []
    for path in siege.pages:
        staff.open(path)
        found += look_through(staff)
    none(found)


def test_all_at_once(staff: Staff, sandbox: Sandbox, superuser: User) -> None:
    """Where texts of many orders stand together."""
    sieges = [Siege(sandbox, text, superuser) for text in HOSTILE.values()]
    staff.shows(viewport=PHONE)
    found = []
    lists = [f"{HOME}{name}/" for name in ("syncattempt", "resyncrun", "accountstatus")]
    for path in (HOME, f"{LIST}dashboard/", LIST, *lists):
        staff.open(path)
        found += look_through(staff)
    for action in ("resync_selected", "mark_as_ignored", "delete_selected"):
        staff.choose(action, *(siege.order for siege in sieges))
        found += look_through(staff)
    none(found)


@pytest.mark.parametrize("name", ["link", "link in disguise", "data link", "attribute"])
def test_whoever_may_only_look(name: str, staff: Staff, sandbox: Sandbox, superuser: User) -> None:
    """What others edit is text for them, and the admin makes links of what is in a column for links."""
    siege = Siege(sandbox, HOSTILE[name], superuser)
    names = ["view_order", "view_lineitem", "view_syncattempt", "view_diff", "view_personal_data"]
    superuser.user_permissions.set(Permission.objects.filter(codename__in=names))
    User.objects.filter(pk=superuser.pk).update(is_superuser=False)
    staff.shows(viewport=PHONE)
    page = staff.open(f"{LIST}{siege.order.pk}/change/")
    assert page.locator("[name=customer_order_id], [name=_save]").count() == 0
    found = look_through(staff)
    staff.open(f"{LIST}{siege.order.pk}/diff/?all=1")
    none(found + look_through(staff))
