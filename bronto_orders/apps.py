from __future__ import annotations

from django.apps import AppConfig
from django.core import checks
from django.utils.translation import gettext_lazy as _


class BrontoOrdersConfig(AppConfig):
    name = "bronto_orders"
    verbose_name = _("Bronto orders")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from bronto_orders import receivers
        from bronto_orders.checks import check_celery, check_settings

        receivers.connect()
        checks.register(check_settings, checks.Tags.security)
        checks.register(check_celery)
