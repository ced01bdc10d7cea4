from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class SandboxConfig(AppConfig):
    name = "bronto_orders.sandbox"
    label = "bronto_sandbox"
    verbose_name = "Bronto sandbox"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        post_migrate.connect(install_first_client, sender=self)


def install_first_client(sender: AppConfig, using: str, **kwargs: Any) -> None:
    """Give a fresh database the default client, as the standalone server does."""
    from bronto_orders.sandbox.models import Client

    if Client._meta.db_table not in _tables(using) or Client.objects.using(using).exists():
        return
    Client.install(using=using)


def _tables(using: str) -> list[str]:
    from django.db import connections

    return connections[using].introspection.table_names()
