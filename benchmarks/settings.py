"""Settings of the shop and the workers that are measured.

Where things are comes as JSON in BRONTO_BENCHMARK: a suffix for database names, a folder for files, the remote end's
address and what a benchmark changes. Each database server is an alias of its own.
"""

from __future__ import annotations

import json
import os
from tempfile import gettempdir
from typing import Any

PLACE: dict[str, Any] = {
    "suffix": "0",
    "folder": gettempdir(),
    "bronto": "http://127.0.0.1:9",
    "concurrency": 32,
    **json.loads(os.environ.get("BRONTO_BENCHMARK", "{}")),
}
NAME = f"bronto_orders_benchmark_{PLACE['suffix']}"
POSTGRESQL = {"ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "USER": "postgres", "CONN_MAX_AGE": None}

SECRET_KEY = "benchmarks"
DEBUG = False
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": f"{PLACE['folder']}/{NAME}.sqlite3",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    },
    "postgresql": {**POSTGRESQL, "NAME": NAME},
    # A second one, with a million orders in it.
    "large": {**POSTGRESQL, "NAME": f"{NAME}_large"},
    "mariadb": {
        "ENGINE": "django.db.backends.mysql",
        "NAME": NAME,
        "HOST": "127.0.0.1",
        "USER": "root",
        "CONN_MAX_AGE": None,
        "OPTIONS": {"charset": "utf8mb4"},
    },
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "bronto_orders", "benchmarks"]
if PLACE.get("admin"):
    INSTALLED_APPS.append("django.contrib.admin")
BRONTO_ORDERS = {
    "ACCOUNTS": {
        "default": {
            "CLIENT_ID": "benchmark",
            "CLIENT_SECRET": "benchmark",
            "API_URL": PLACE["bronto"],
            "TOKEN_URL": f"{PLACE['bronto']}/oauth2/token",
            "CREATE_CONTACT": True,
            "CONCURRENCY": PLACE["concurrency"],
        }
    }
}
CELERY_BROKER = "redis://127.0.0.1:6379/9"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
