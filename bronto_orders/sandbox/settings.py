"""The settings of the standalone server; a host project that includes the URLs does not use them."""

from __future__ import annotations

import os

SECRET_KEY = "signs nothing: there are no sessions, cookies or forms here"  # noqa: S105
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["bronto_orders.sandbox"]
ROOT_URLCONF = "bronto_orders.sandbox.urls"
MIDDLEWARE: list[str] = []
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("BRONTO_SANDBOX_DATABASE", ":memory:"),
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 60,
            # WAL is set once, on the file, by the runner: changing the mode needs the file alone.
            "init_command": "PRAGMA synchronous=OFF; PRAGMA foreign_keys=ON;",
        },
    }
}
# Without django.contrib.auth there is no anonymous user for DRF to fall back on.
REST_FRAMEWORK = {"UNAUTHENTICATED_USER": None, "UNAUTHENTICATED_TOKEN": None}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    # Refused calls are what this server is for; they are in its request log, not on the terminal.
    "loggers": {
        "django.request": {"level": "CRITICAL"},
        "django.server": {"handlers": [], "level": "WARNING"},
    },
}
