"""Orders as the shop writes them, and as the test knows them without asking the code under test."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db.models import DecimalField, Model

from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import claims
from bronto_orders.delivery.resync import resync
from bronto_orders.models import LineItem, Order, SyncState
from bronto_orders.models.deliverable import DELIVERY_COLUMNS
from bronto_orders.models.order import ATTRIBUTION_COLUMNS
from tests.factories import LineItemFactory

#: Fields that the shop changes and the values it gives them; the first is the one they are cleared by.
FIELDS: dict[str, list[Any]] = {
    "shipping_details": ["", "by post"],
    "origin_user_agent": ["", "a browser"],
    "discount_amount": [None, Decimal("1.25")],
    "shipping_date": [None, datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)],
    "origin_ip": [None, "192.0.2.1"],
    "shipped": [False, True],
    "currency": ["USD", "XQQ"],  # the last is nobody's, and is not sent
}
#: What is not compared: the service's own, what it does not show, and what only an add can say.
NOT_SHOWN = {"id", "account", "contact_id", "message_id", "delivery_id", "tid", "processed", "shipped"}
NOT_SHOWN |= {"order_source", "tracking_cookie_name", "tracking_cookie_value", "order", "position"}

SAVES = {f"{name}={value}": (name, value) for name, values in FIELDS.items() for value in values}
#: The ways to write an order.
WRITES = [
    *(f"{how} {what}" for how in ("saves", "updates") for what in SAVES),
    *["takes its last write back"] * 10,
    *["resyncs", "resyncs by force"] * 4,
    *["changes an item", "removes an item", "marks it as changed"] * 2,
]


def shown(order: Order) -> dict[str, Any]:
    """Return what the service shows of an order that it has as the shop has it. Made without the code under test."""
    return {
        **_shown(order),
        "states": {"processed": order.processed, "shipped": order.shipped},
        "lineItems": [_shown(item) for item in LineItem.objects.filter(order=order)],
    }


def _shown(row: Model) -> dict[str, Any]:
    known = {}
    for column in row._meta.concrete_fields:
        if column.name not in NOT_SHOWN | DELIVERY_COLUMNS | ATTRIBUTION_COLUMNS:
            head, *tail = column.name.split("_")
            value = getattr(row, column.name)
            if isinstance(value, datetime):
                value = value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            elif isinstance(column, DecimalField):
                value = float(value or 0)
            known[head + "".join(map(str.capitalize, tail))] = value or (0 if isinstance(value, float) else None)
    return known


@dataclass
class Ledger:
    """One order: the shop's writes, what the service was seen to have, and what may be said of it."""

    #: What some view of the shop has loaded once. It is saved again and again; its delivery columns are out of date.
    view: Order
    #: The order after each of the shop's writes, as the service would show it.
    versions: list[dict[str, Any]] = field(default_factory=list)
    #: What the last write has changed, as it was before.
    before: dict[str, Any] = field(default_factory=dict)
    #: The order at the service; None when it has none.
    remote: dict[str, Any] | None = None
    #: The oldest version that the service may have now.
    reached: int = 0
    #: By somebody at the service.
    deletions: int = 0
    returned: bool = False
    #: Revisions to which the service has said 400, and how often it has said 500.
    refused: set[int] = field(default_factory=set)
    failures: int = 0
    #: The row's columns of these names, when they were last looked at.
    revision: int = 0
    acked_revision: int = 0

    def __post_init__(self) -> None:
        self.note_version()

    def __str__(self) -> str:
        return self.view.customer_order_id

    def write(self, way: str) -> None:
        """Write the order as the shop does, in one of ``WRITES``."""
        view, number = self.view, len(self.versions)
        rows, items = Order.objects.filter(pk=view.pk), LineItem.objects.filter(order=view)
        match way.split(maxsplit=1):
            case "saves" | "updates" as how, what:
                name, value = SAVES[what]
                # A number that only grows, so that no two of these versions are the same.
                fields = {"grand_total": Decimal(number), name: value}
                self.before = {name: getattr(view, name) for name in fields}
                for name, value in fields.items():
                    setattr(view, name, value)
                if how == "saves":
                    view.save()
                else:
                    rows.update(**fields)
            case "takes", _:
                for name, value in self.before.items():
                    setattr(view, name, value)
                view.save(update_fields=self.before)
            case "resyncs", *by_force:
                resync(rows, trigger="test", force=bool(by_force), trigger_events=False)
            case "marks", _:
                rows.mark_changed()
            case "removes", _ if items.exists():
                items[0].delete()
            case _:
                item = items.last() or LineItemFactory.build(order=view)
                item.quantity = number
                item.save()
        self.note_version()

    def note_version(self) -> None:
        """Note the order as the shop has it."""
        if (version := shown(Order.objects.get(pk=self.view.pk))) not in self.versions[-1:]:
            self.versions.append(version)

    def see(self, remote: dict[str, Any]) -> None:
        """See the order at the service: it is as the shop had it once, and never as before what it was last."""
        self.remote = {name: remote[name] for name in self.versions[0]}
        for item in self.remote["lineItems"]:
            del item["position"]
        fitting = [number for number, version in enumerate(self.versions) if version == self.remote]
        assert fitting, f"never so at the shop: {self.remote}"
        fitting = [number for number in fitting if number >= self.reached]
        assert fitting, "an older state over a newer one"
        self.reached = fitting[0]

    def is_deleted(self) -> bool:
        return self.deletions > 0 and self.remote is None

    def check(self, row: Order, *, claimed: int) -> None:
        """Check what the order's row says. Claims of any order have been made ``claimed`` times."""
        assert row.revision >= self.revision, "a mark is lost"
        assert self.acked_revision <= row.acked_revision <= row.revision
        self.revision, self.acked_revision = row.revision, row.acked_revision
        if row.due_at is None:
            assert row.lease_token is None
            assert self._may_rest(row, claimed), f"wrongly at rest: {row.sync_state} {row.sync_reason}"

    def _may_rest(self, row: Order, claimed: int) -> bool:
        """Tell whether an order of which nothing is owed is at the service as the shop has it, or there is a reason."""
        match row.sync_state, row.sync_reason:
            case SyncState.SYNCED, "":
                same = self.is_deleted() or self.remote == self.versions[-1]
                return same and row.acked_revision == row.revision
            case SyncState.REJECTED, "refused":
                return row.revision in self.refused
            case SyncState.REJECTED, "id_taken":
                return self.returned or self.deletions > 1
            case SyncState.REJECTED, "poison":
                return self.failures >= bronto_settings.delivery.max_attempts
            case SyncState.REJECTED, "crash_loop":
                return claimed >= claims.MAX_CRASHES
            case SyncState.SKIPPED, "invalid:currency":
                return self.versions[-1]["currency"] == "XQQ"
        return False
