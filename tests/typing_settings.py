"""For the type checker alone: all apps that the package ships."""

from __future__ import annotations

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "bronto_orders.sandbox"]
