"""Settings of the demo shop. The parts about Celery and Bronto are meant to be copied; the rest keeps the demo small.

Every address comes from the environment. Without any, all state is in files under ``.demo/`` and no server is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import environ
from celery.schedules import crontab

from demo_project.broker import SCHEME, transport_options

env = environ.Env()

BASE_DIR = Path(__file__).resolve().parent.parent
#: Database, broker, cache and logs of the demo. Delete it to start afresh.
DEMO_STATE = Path(env("DEMO_STATE", default=str(BASE_DIR / ".demo")))
DEMO_STATE.mkdir(parents=True, exist_ok=True)

DEBUG = env.bool("DEBUG", default=True)
SECRET_KEY = env("SECRET_KEY", default="the demo's key is public, so it protects nothing")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[".localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
# Browsers share cookies among all ports of a host.
SESSION_COOKIE_NAME = "bronto_demo_session"
CSRF_COOKIE_NAME = "bronto_demo_csrf"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework",
    "bronto_orders",
    "demo_project.shop",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "bronto_orders.middleware.TrackingMiddleware",
]
ROOT_URLCONF = "demo_project.urls"
WSGI_APPLICATION = "demo_project.wsgi.application"
ASGI_APPLICATION = "demo_project.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "demo_project.shop.context_processors.header",
            ],
        },
    }
]
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "demo_project" / "static"]
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASES: dict[str, dict[str, Any]] = {
    "default": env.db()
    if "DATABASE_URL" in env.ENVIRON
    else {"ENGINE": "django.db.backends.sqlite3", "NAME": DEMO_STATE / "shop.sqlite3"}
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # What lets a web server and a worker write to one SQLite file: readers and the writer do not block one another,
    # writers queue for their turn when they begin, and not when it is too late to wait.
    DATABASES["default"].setdefault("OPTIONS", {}).update(
        transaction_mode="IMMEDIATE",
        timeout=30,
        init_command="PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    )
# Web server and worker share one access token through this cache, so it must not be one that each process has alone.
CACHES: dict[str, dict[str, Any]] = {
    "default": env.cache()
    if "CACHE_URL" in env.ENVIRON
    else {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": DEMO_STATE / "cache"}
}

CELERY_BROKER_URL = env("CELERY_BROKER_URL", default=f"{SCHEME}://localhost")
# A broker that is down must not hold up a checkout: no retries, short time-outs. Orders are safe without it.
CELERY_BROKER_TRANSPORT_OPTIONS = transport_options(CELERY_BROKER_URL, DEMO_STATE / "broker")
CELERY_BROKER_CONNECTION_TIMEOUT = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_IGNORE_RESULT = True
# Their own queue, so that the shop's longer jobs do not keep orders waiting.
CELERY_TASK_ROUTES = {"bronto_orders.*": {"queue": "bronto_orders"}}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 20
# A folder cannot broadcast to workers.
CELERY_WORKER_ENABLE_REMOTE_CONTROL = not CELERY_BROKER_URL.startswith(SCHEME)
CELERY_TIMEZONE = TIME_ZONE
CELERY_BEAT_SCHEDULE = {
    # The safety net under the hints that saves send: it finds whatever is due.
    "bronto_orders.sweep": {"task": "bronto_orders.sweep", "schedule": 5.0, "options": {"expires": 5}},
    "bronto_orders.prune": {"task": "bronto_orders.prune", "schedule": crontab(hour=3, minute=30)},
}

BRONTO_API_URL = env("BRONTO_API_URL", default="http://127.0.0.1:8899")
BRONTO_ORDERS = {
    "ACCOUNTS": {
        "default": {
            "CLIENT_ID": env("BRONTO_CLIENT_ID", default="sandbox"),
            "CLIENT_SECRET": env("BRONTO_CLIENT_SECRET", default="sandbox-secret"),
            "API_URL": BRONTO_API_URL,
            "TOKEN_URL": env("BRONTO_TOKEN_URL", default=f"{BRONTO_API_URL}/oauth2/token"),
            "CREATE_CONTACT": True,
        },
    },
    # By its name, so that a checkout may be moved with its state: copies of a database send nothing.
    "DELIVERY": {"ENVIRONMENT": "demo"},
    # Keeps the e-mail that a shopper came by until checkout, unless they have said no.
    "TRACKING": {"PERSIST": "session", "CONSENT": "demo_project.shop.privacy.consent"},
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "{asctime} {levelname:7} {name}: {message}", "datefmt": "%H:%M:%S", "style": "{"}
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {"bronto_orders": {"handlers": ["console"], "level": "INFO", "propagate": False}},
}
