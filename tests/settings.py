"""Settings of the test project.

BRONTO_TEST_DATABASE chooses the database server: sqlite (default), postgresql or mariadb. Worker processes that tests
start get the name of the test database in BRONTO_TEST_DATABASE_NAME, the broker in BRONTO_TEST_BROKER and
BRONTO_ORDERS, as JSON, in BRONTO_TEST_SETTINGS.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import gettempdir
from typing import Any

SERVERS: dict[str, dict[str, Any]] = {
    "sqlite": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": ":memory:",
        "TEST": {"NAME": str(Path(gettempdir()) / f"bronto_orders_tests_{os.getpid()}.sqlite3")},
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    },
    "postgresql": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "bronto_orders",
        "HOST": "127.0.0.1",
        "USER": "postgres",
    },
    "mariadb": {
        "ENGINE": "django.db.backends.mysql",
        "NAME": "bronto_orders",
        "HOST": "127.0.0.1",
        "USER": "root",
        "OPTIONS": {"charset": "utf8mb4"},
    },
}
DATABASES = {
    "default": SERVERS[os.environ.get("BRONTO_TEST_DATABASE", "sqlite")],
    # A second one, for what is written with ``using``; made from the models, which is quicker than by migrations.
    "other": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "TEST": {"MIGRATE": False}},
}
if name := os.environ.get("BRONTO_TEST_DATABASE_NAME"):
    DATABASES["default"]["NAME"] = name
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SECRET_KEY = "tests"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.urls"
USE_TZ = True
TIME_ZONE = "Europe/Berlin"
STATIC_URL = "static/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework",
    "bronto_orders",
]
MIDDLEWARE = [
    "tests.policy.StrictPolicy",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "bronto_orders.middleware.TrackingMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]
BRONTO_ORDERS = json.loads(
    os.environ.get("BRONTO_TEST_SETTINGS")
    or '{"ACCOUNTS": {"default": {"CLIENT_ID": "sandbox", "CLIENT_SECRET": "sandbox-secret"}}}'
)
