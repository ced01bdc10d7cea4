from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, call_command

from demo_project.shop.catalogue import stock
from demo_project.supervisor import ADMIN_LOGIN, ADMIN_PASSWORD


class Command(BaseCommand):
    help = "Migrates the demo's database, fills the shelves and makes the staff account. May be repeated."

    def handle(self, **options: Any) -> None:
        call_command("migrate", verbosity=options["verbosity"], interactive=False)
        stock()
        users = get_user_model().objects
        if not users.filter(username=ADMIN_LOGIN).exists():
            users.create_superuser(ADMIN_LOGIN, "admin@example.com", ADMIN_PASSWORD)
