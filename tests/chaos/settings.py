"""Settings of the shop, the workers and the conductor of a campaign.

Where the servers are comes as JSON in BRONTO_CHAOS_PLACE: a database, a broker, a cache and Bronto's address.
"""

from __future__ import annotations

import json
import os
from typing import Any

from tests.settings import *  # noqa: F403

PLACE: dict[str, Any] = json.loads(os.environ["BRONTO_CHAOS_PLACE"])

#: Short, and in the same relation to one another as the defaults: whatever is under way to Bronto dies or lands within
#: SETTLE_SECONDS (the monkey sees to that), and leases outlast what they cover, as the system checks ask.
READ_TIMEOUT = 1.0
TOTAL_TIMEOUT = 1.2
SETTLE_SECONDS = 5.0
ADD_LEASE_SECONDS = 7.5
UPDATE_LEASE_SECONDS = 12.5
LONGEST_HOLD_SECONDS = 5.0

INSTALLED_APPS = [*INSTALLED_APPS, "tests.chaos.apps.ChaosConfig"]  # noqa: F405
DATABASES = {"default": PLACE["database"]}
CACHES = {"default": PLACE["cache"]}
BRONTO_ORDERS = {
    "ACCOUNTS": {
        "default": {
            "CLIENT_ID": "sandbox",
            "CLIENT_SECRET": "sandbox-secret",
            "API_URL": PLACE["bronto"],
            "TOKEN_URL": f"{PLACE['bronto']}/oauth2/token",
            "CREATE_CONTACT": True,
            "CONNECT_TIMEOUT": 1,
            "READ_TIMEOUT": READ_TIMEOUT,
            "TOTAL_TIMEOUT": TOTAL_TIMEOUT,
            "CONCURRENCY": 8,
        }
    },
    "DELIVERY": {
        "ADD_LEASE_SECONDS": ADD_LEASE_SECONDS,
        "UPDATE_LEASE_SECONDS": UPDATE_LEASE_SECONDS,
        "SETTLE_SECONDS": SETTLE_SECONDS,
        "BACKOFF_BASE": 0.5,
        "BACKOFF_CAP": 2,
    },
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {process} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}
