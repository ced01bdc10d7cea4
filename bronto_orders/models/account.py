from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class AccountStatus(models.Model):
    """The gate of one account: whether its orders may be sent now, and why not.

    Read inside the claim, written on transitions only. An account without a row is open.
    """

    class Breaker(models.TextChoices):
        CLOSED = "closed", _("closed")
        OPEN = "open", _("open")

    account = models.CharField(_("account"), max_length=64, primary_key=True)
    #: Nothing is claimed before.
    held_until = models.DateTimeField(_("held until"), null=True, blank=True)
    #: Machine code: ``outage``, ``auth``, ``throttled`` or ``configuration``.
    held_reason = models.CharField(_("held because"), max_length=32, blank=True, default="")
    held_message = models.TextField(_("explanation"), blank=True, default="")
    breaker_state = models.CharField(_("breaker"), max_length=8, choices=Breaker.choices, default=Breaker.CLOSED)
    #: Failures that speak against the account rather than against one order, since the last success.
    consecutive_failures = models.PositiveIntegerField(_("consecutive failures"), default=0)
    #: Paused by a person, until a person resumes.
    paused = models.BooleanField(_("paused"), default=False)
    last_success_at = models.DateTimeField(_("last success"), null=True, blank=True)
    #: Hashes of the environment that sends for the account, and of the credentials that it first used.
    environment = models.CharField(max_length=64, blank=True, default="", editable=False)
    credentials = models.CharField(max_length=64, blank=True, default="", editable=False)
    #: Hash of the settings that were refused; other settings are tried at once.
    refused_settings = models.CharField(max_length=64, blank=True, default="", editable=False)

    class Meta:
        verbose_name = _("account status")
        verbose_name_plural = _("account statuses")
        constraints = [
            models.CheckConstraint(
                name="bronto_orders_account_breaker_known", condition=Q(breaker_state__in=["closed", "open"])
            ),
        ]

    def __str__(self) -> str:
        return self.account
