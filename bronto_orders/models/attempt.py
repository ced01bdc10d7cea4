from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from bronto_orders.models.order import Order


class SyncAttempt(models.Model):
    """One exchange with Bronto about one order: what was asked, what came back, what was decided."""

    class Operation(models.TextChoices):
        ADD = "add", _("add")
        UPDATE = "update", _("update")
        LOOKUP = "lookup", _("look up")

    class Outcome(models.TextChoices):
        ACCEPTED = "accepted", _("accepted")
        DEFERRED = "deferred", _("deferred")
        REJECTED = "rejected", _("rejected")
        SKIPPED = "skipped", _("skipped")
        UNKNOWN = "unknown", _("fate unknown")
        REDIRECTED = "redirected", _("another call is needed")
        HELD = "held", _("account held")
        LEASE_LOST = "lease_lost", _("lease lost")

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="sync_attempts", verbose_name=_("order"))
    account = models.CharField(_("account"), max_length=64)
    revision = models.BigIntegerField(_("revision"))
    operation = models.CharField(_("operation"), max_length=8, choices=Operation.choices)
    #: What caused it: ``signal``, ``sweep``, ``command``, ``api`` or ``admin:<user>``.
    trigger = models.CharField(_("trigger"), max_length=200)
    started_at = models.DateTimeField(_("when"))
    duration_ms = models.PositiveIntegerField(_("duration (ms)"))
    #: None when no answer came.
    http_status = models.PositiveSmallIntegerField(_("HTTP status"), null=True, blank=True)
    outcome = models.CharField(_("outcome"), max_length=16, choices=Outcome.choices)
    #: Bronto's own words, or the kind of failure; redacted.
    reason = models.TextField(_("reason"), blank=True, default="")
    #: What was done next, and why.
    decision = models.TextField(_("decision"), blank=True, default="")
    request_excerpt = models.TextField(_("request"), blank=True, default="")
    answer_excerpt = models.TextField(_("answer"), blank=True, default="")
    #: Wire names of fields that Bronto acknowledged with another value than was sent.
    differences = models.JSONField(_("taken differently"), default=list, blank=True)

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        ordering = ["-pk"]
        # By time alone for pruning; with the others, figures by the hour read no rows of the table.
        indexes = [models.Index(fields=["started_at", "account", "outcome"], name="bronto_orders_attempt_when")]
        constraints = [
            models.CheckConstraint(
                name="bronto_orders_attempt_status_valid",
                condition=Q(http_status=None) | Q(http_status__gte=100, http_status__lte=599),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_operation_display()}: {self.get_outcome_display()}"
