from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Case, Expression, F, Q, Value, When
from django.db.models.expressions import Combinable
from django.utils.translation import gettext_lazy as _

from bronto_orders.models.functions import DbNow


class SyncState(models.TextChoices):
    """Where an order stands between the shop and Bronto."""

    PENDING = "pending", _("pending")
    SENDING = "sending", _("sending")
    SYNCED = "synced", _("synced")
    REJECTED = "rejected", _("rejected")
    SKIPPED = "skipped", _("skipped")

    @classmethod
    def at_rest(cls) -> list[SyncState]:
        """States in which nothing is owed until the order changes."""
        return [cls.SYNCED, cls.REJECTED, cls.SKIPPED]

    @classmethod
    def parked(cls) -> list[SyncState]:
        """States at rest without success: the next change begins afresh."""
        return [cls.REJECTED, cls.SKIPPED]


class Presence(models.TextChoices):
    """What we know of the order's existence at Bronto; it decides which call comes first."""

    ABSENT = "absent", _("not at Bronto")
    UNSURE = "unsure", _("perhaps at Bronto")
    PRESENT = "present", _("at Bronto")


if TYPE_CHECKING:
    Field = models.Field[Any, Any]
else:
    Field = models.Field


class EngineColumn(Field):
    """A column that belongs to the delivery engine.

    ``Model.save()`` of an existing row leaves it as the database has it, whatever the instance holds: a view's stale
    instance must not undo what a worker has recorded. For columns in ``MARKS``, the mark takes its place, evaluated
    by the database in the statement that saves. Writing anything else is by ``QuerySet.update()`` alone.

    A row that is inserted begins with the default, whatever the instance holds: a copy of a synced order, or one that
    is saved again after its row was deleted, would otherwise be born as if Bronto had it, and never be sent. Only
    ``bulk`` is the shop's to choose at birth. Fixtures are inserted as they are, and marked afterwards.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("editable", False)
        super().__init__(*args, **kwargs)

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:  # noqa: FBT001 - Django's signature
        if add:
            if self.attname != "bulk":
                setattr(model_instance, self.attname, self.get_default())
            return super().pre_save(model_instance, add)
        return MARKS.get(self.attname, F(self.attname))

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        """Stand in migrations as Django's own field: the behaviour is Python's alone."""
        name, _path, args, kwargs = super().deconstruct()
        own, base = type(self).__mro__[1:3]
        assert own is EngineColumn  # noqa: S101
        return name, f"django.db.models.{base.__name__}", args, kwargs


class EngineBigIntegerField(EngineColumn, models.BigIntegerField): ...


class EngineBooleanField(EngineColumn, models.BooleanField): ...


class EngineCharField(EngineColumn, models.CharField): ...


class EngineDateTimeField(EngineColumn, models.DateTimeField): ...


class EngineForeignKey(EngineColumn, models.ForeignKey): ...


class EngineJSONField(EngineColumn, models.JSONField): ...


class EngineSmallIntegerField(EngineColumn, models.PositiveSmallIntegerField): ...


class EngineTextField(EngineColumn, models.TextField): ...


class EngineUUIDField(EngineColumn, models.UUIDField): ...


AT_REST = Q(sync_state__in=[state.value for state in SyncState.at_rest()])
PARKED = Q(sync_state__in=[state.value for state in SyncState.parked()])

#: The reason of orders that are not sent, whatever the shop changes, until somebody resyncs them.
IGNORED_BY_STAFF = "ignored_by_staff"
#: The reason of orders whose customer was erased.
ERASED = "erased"
NOT_IGNORED = ~Q(sync_reason=IGNORED_BY_STAFF)


def _afresh(column: str, value: object, output_field: Field) -> Case:
    return Case(When(PARKED & NOT_IGNORED, then=Value(value)), default=F(column), output_field=output_field)


#: The assignments that mark a row as changed, in UPDATE statements and in saves.
#:
#: The revision moves on. A row at rest becomes due now; one that waits or is being sent keeps its ``due_at``, which is
#: its back-off or its lease. A rejected or skipped row begins afresh; one that staff have marked as ignored stays so.
#: MariaDB evaluates assignments from left to right, each seeing the earlier ones' results, so ``sync_state``, which the
#: others read, comes last; ``sync_reason`` keeps the one value that they read.
MARKS: dict[str, Expression | Combinable] = {
    "revision": F("revision") + 1,
    "due_at": Case(
        When((AT_REST | Q(due_at=None)) & NOT_IGNORED, then=DbNow()),
        default=F("due_at"),
        output_field=models.DateTimeField(),
    ),
    "attempts": _afresh("attempts", 0, models.IntegerField()),
    "flips": _afresh("flips", 0, models.IntegerField()),
    "sync_reason": _afresh("sync_reason", "", models.CharField()),
    "sync_message": _afresh("sync_message", "", models.TextField()),
    "crashes": _afresh("crashes", 0, models.IntegerField()),
    "bulk": Value(value=False),
    "sync_state": Case(
        When(AT_REST & NOT_IGNORED, then=Value(SyncState.PENDING.value)),
        default=F("sync_state"),
        output_field=models.CharField(),
    ),
}


class Deliverable(models.Model):
    """The delivery columns: what is owed to Bronto and what it has acknowledged.

    They belong to the engine; shops read them. A row is owed because ``due_at`` is set, never because a message
    exists somewhere.
    """

    #: Machine code of the state's reason, such as ``invalid:currency`` or ``no_contact``.
    sync_reason = EngineCharField(_("reason"), max_length=100, blank=True, default="")
    sync_message = EngineTextField(_("explanation"), blank=True, default="")
    #: Counts the shop's writes.
    revision = EngineBigIntegerField(_("revision"), default=1)
    #: The newest revision that Bronto has acknowledged.
    acked_revision = EngineBigIntegerField(_("acknowledged revision"), default=0)
    #: Dirty flag, schedule, back-off and end of the lease in one; None when nothing is owed.
    #: A new row is born due, by the database's own clock.
    due_at = EngineDateTimeField(_("next try"), null=True, blank=True, db_default=DbNow())
    lease_token = EngineUUIDField(null=True, blank=True)
    lease_revision = EngineBigIntegerField(null=True, blank=True)
    #: An earlier update of unknown fate may land until then; nothing newer is sent before.
    settle_until = EngineDateTimeField(_("settling until"), null=True, blank=True)
    attempts = EngineSmallIntegerField(_("attempts"), default=0)
    #: How often the order was at Bronto by one answer and was not by the next.
    flips = EngineSmallIntegerField(default=0)
    #: How many workers in a row have died, or lost the lease, while they held the order.
    crashes = EngineSmallIntegerField(default=0)
    #: Queued by a resync or a history load, which live orders need not wait for.
    bulk = EngineBooleanField(default=False)
    presence = EngineCharField(_("at Bronto"), max_length=8, choices=Presence.choices, default=Presence.ABSENT)
    #: The order as Bronto last acknowledged it, in wire names.
    last_sent = EngineJSONField(_("last sent"), null=True, blank=True)
    last_sent_hash = EngineCharField(max_length=64, blank=True, default="")
    bronto_order_id = EngineCharField(_("Bronto ID"), max_length=64, blank=True, default="")
    bronto_updated_at = EngineDateTimeField(_("changed at Bronto"), null=True, blank=True)
    #: Bronto's word on whether it took the tracking; None until it has answered.
    has_tracking = EngineBooleanField(_("tracking taken"), null=True, blank=True)
    synced_at = EngineDateTimeField(_("last sent"), null=True, blank=True)
    #: The revision that was pushed by hand, and how; other revisions go by the account's settings.
    resync_revision = EngineBigIntegerField(null=True, blank=True)
    resync_options = EngineJSONField(null=True, blank=True)
    #: The run that has queued that revision. Indexed by the order's ``Meta``, where it is set.
    resync_run = EngineForeignKey(
        "bronto_orders.ResyncRun",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="orders",
        db_index=False,
        verbose_name=_("resync"),
    )
    # Last, because save() assigns in this order and MariaDB evaluates from left to right: see MARKS.
    sync_state = EngineCharField(_("state"), max_length=16, choices=SyncState.choices, default=SyncState.PENDING)

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                name="%(app_label)s_%(class)s_state_known", condition=Q(sync_state__in=SyncState.values)
            ),
            models.CheckConstraint(
                name="%(app_label)s_%(class)s_owed_is_due",
                condition=Q(due_at__isnull=False) | Q(sync_state__in=SyncState.at_rest()),
            ),
            models.CheckConstraint(
                name="%(app_label)s_%(class)s_revisions_in_order",
                condition=Q(acked_revision__gte=0, revision__gte=F("acked_revision")),
            ),
            models.CheckConstraint(
                name="%(app_label)s_%(class)s_lease_whole",
                condition=Q(lease_token__isnull=True, lease_revision__isnull=True)
                | Q(lease_token__isnull=False, lease_revision__isnull=False),
            ),
        ]

    def save_base(
        self,
        raw: bool = False,  # noqa: FBT001, FBT002 - Django's signature
        force_insert: Any = False,  # noqa: FBT002
        force_update: bool = False,  # noqa: FBT001, FBT002
        using: str | None = None,
        update_fields: Iterable[str] | None = None,
    ) -> None:
        """Save, and mark in the same statement.

        Here rather than in ``save()``, because only here the columns to write are final: Django narrows them for
        instances with deferred fields on the way.
        """
        if update_fields is not None and not raw:
            update_fields = self.columns_to_save(update_fields)
            if not update_fields:
                return
        super().save_base(raw, force_insert, force_update, using, update_fields)

    @classmethod
    def columns_to_save(cls, names: Iterable[str]) -> frozenset[str]:
        """Return the shop's columns among ``names`` and, if there are any, those that mark the row."""
        shop = frozenset(names) - DELIVERY_COLUMNS
        return shop | MARKS.keys() if shop else shop


DELIVERY_COLUMNS = frozenset(name for field in Deliverable._meta.local_fields for name in (field.name, field.attname))
