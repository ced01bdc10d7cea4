from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class ResyncRun(models.Model):
    """One request to send orders again: which ones, how, and how far queueing them has come.

    Workers queue the orders in chunks, from the highest key down. What a chunk has queued and where the next one begins
    is committed together. The row is what says that there is work left; hints over the broker only hasten it.
    """

    #: What the form carried, so that submitting it twice is one run.
    token = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    #: Who asked: ``command``, ``api`` or ``admin:<user>``.
    trigger = models.CharField(_("started by"), max_length=200)
    #: Which orders: conditions or keys, as ``delivery.selections`` writes them. Conditions are gone when it is over.
    filters = models.JSONField(_("selection"))
    #: How: the fields of ``delivery.resync.Options``.
    options = models.JSONField(_("options"))
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    #: When the last order was queued, or taken back after a cancel; delivering them goes on after that.
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    cancelled_at = models.DateTimeField(_("cancelled"), null=True, blank=True)
    #: When the last chunk was done.
    heartbeat = models.DateTimeField(_("last sign of life"), null=True, blank=True)
    #: Orders that met the conditions at the start.
    total = models.PositiveBigIntegerField(_("orders"))
    #: The next chunk has keys below this; orders that come in later have none.
    cursor = models.BigIntegerField()
    #: Keys that were passed because somebody had locked the rows; they come last.
    postponed = models.JSONField(default=list, blank=True)
    #: Moves on with each chunk, so that of two workers that want the same one only one does it.
    step = models.PositiveBigIntegerField(default=0)
    queued = models.PositiveBigIntegerField(_("queued"), default=0)
    already_queued = models.PositiveBigIntegerField(_("queued already"), default=0)
    #: Ignored by staff, or deleted meanwhile.
    left_out = models.PositiveBigIntegerField(_("left out"), default=0)
    #: Not sent any more when the run was cancelled.
    taken_back = models.PositiveBigIntegerField(_("taken back"), default=0)
    #: Why the run ended before its time.
    error = models.TextField(_("error"), blank=True, default="")

    class Meta:
        verbose_name = _("resync")
        verbose_name_plural = _("resyncs")
        ordering = ["-pk"]
        default_permissions = ["view"]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}"

    @property
    def seen(self) -> int:
        """How many orders have been looked at."""
        return self.queued + self.already_queued + self.left_out
