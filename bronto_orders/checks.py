"""System checks: what ``manage.py check`` says about the BRONTO_ORDERS setting and the project around the app.

Numbers are never used twice. E001-E002: shape of the dict; E011-E051: the type of one option each (the numbers stand
beside the options in ``conf.py``); E061-W067: what the values mean; W068-W069: Celery; W070: the database; W071-E075:
the tracking middleware and what it needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from celery import Celery, current_app
from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.utils.module_loading import import_string

from bronto_orders import conf
from bronto_orders.models import Order

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
MAX_ACCOUNT_NAME = 64

MIDDLEWARE = "bronto_orders.middleware.TrackingMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"

SWEEP = "bronto_orders.sweep"
#: The longest time-out, in seconds, with which a broker that says nothing is noticed soon enough.
LONGEST_TIMEOUT = 3
AMQP = {"amqp", "amqps", "pyamqp"}
_ANY_BROKER = {"max_retries": 0}
_REDIS = {**_ANY_BROKER, "socket_timeout": 0.5, "socket_connect_timeout": 0.5}
_AMQP = {**_ANY_BROKER, "confirm_publish": True, "read_timeout": 1, "write_timeout": 1}
#: What a broker's transport is to be told, by the scheme of the broker's URL.
TRANSPORT_OPTIONS: dict[str, Mapping[str, float]] = {
    **dict.fromkeys({"redis", "rediss", "sentinel"}, _REDIS),
    **dict.fromkeys(AMQP, _AMQP),
    "filesystem": {},
    "memory": {},
}
#: With these, writers of a SQLite file queue up when they begin, and not when it is too late; readers are in no way.
SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}


def check_settings(*, app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check every key of BRONTO_ORDERS: known, of the right type, and of a value that can work."""
    problems = list(shape_problems())
    if not problems:
        problems = list(meaning_problems())
    return [_message(problem) for problem in problems]


def _message(problem: conf.Problem) -> CheckMessage:
    kind, letter = (checks.Error, "E") if problem.certain else (checks.Warning, "W")
    return kind(
        f"{problem.path} {problem.message}", hint=problem.hint or None, id=f"bronto_orders.{letter}{problem.check:03d}"
    )


def shape_problems() -> Iterator[conf.Problem]:
    """Yield unknown keys and wrong types."""
    root = getattr(settings, conf.SETTING, {})
    if not isinstance(root, Mapping):
        yield conf.Problem(path=conf.SETTING, message="must be a dict.", hint="", check=1)
        return
    sections = {cls.section: cls for cls in conf.SECTIONS}
    known = ["ACCOUNTS", *sections]
    for key, given in root.items():
        path = f"{conf.SETTING}[{key!r}]"
        if key not in known:
            yield conf.unknown_key(conf.SETTING, key, known)
        elif key == "ACCOUNTS":
            yield from _account_shapes(given, path)
        else:
            yield from conf.section_problems(sections[key], given, path)


def _account_shapes(accounts: object, path: str) -> Iterator[conf.Problem]:
    if not isinstance(accounts, Mapping):
        yield conf.Problem(path=path, message="must be a dict of account name to settings.", hint="", check=1)
        return
    for name, given in accounts.items():
        if not isinstance(name, str) or not 0 < len(name) <= MAX_ACCOUNT_NAME:
            message = f"has the account name {name!r}, which is not a string of 1 to {MAX_ACCOUNT_NAME} characters."
            yield conf.Problem(path=path, message=message, hint="Orders store this name.", check=1)
        yield from conf.section_problems(conf.AccountSettings, given, f"{path}[{name!r}]")


def meaning_problems() -> Iterator[conf.Problem]:
    """Yield values of the right type that cannot work."""
    accounts = conf.bronto_settings.accounts
    delivery = conf.bronto_settings.delivery
    for name, account in accounts.items():
        path = f"{conf.SETTING}['ACCOUNTS'][{name!r}]"
        yield from _credential_problems(account, path)
        yield from _url_problems(account, path)
        yield from _split_problems(account, path)
        yield from _lease_problems(account, delivery, path)
    yield from _hook_problems(conf.bronto_settings.tracking)
    yield from _middleware_problems(conf.bronto_settings.tracking)
    yield from _cookie_problems(conf.bronto_settings.tracking)
    yield from _database_problems()
    if not settings.USE_TZ:
        yield conf.Problem(
            path="USE_TZ", message="must be True.", hint="Orders are sent with the moment they were placed.", check=66
        )
    if conf.DEFAULT_ACCOUNT not in accounts:
        yield conf.Problem(
            path=f"{conf.SETTING}['ACCOUNTS']",
            message=f"has no account {conf.DEFAULT_ACCOUNT!r}, which orders belong to unless told otherwise.",
            hint='Add "default": {"CLIENT_ID": …, "CLIENT_SECRET": …}.',
            check=61,
        )


def _hook_problems(tracking: conf.TrackingSettings) -> Iterator[conf.Problem]:
    for key, number in (("CONSENT", 41), ("CLIENT_IP", 42)):
        try:
            hook = getattr(tracking, f"{key.lower()}_hook")
            trouble = "" if hook is None or callable(hook) else "is not callable"
        except ImportError:
            trouble = "cannot be imported"
        if trouble:
            yield conf.Problem(
                path=f"{conf.SETTING}['TRACKING'][{key!r}]",
                message=f"is {getattr(tracking, key.lower())!r}, which {trouble}.",
                hint="Give the dotted path of a callable.",
                check=number,
            )


def _middleware_problems(tracking: conf.TrackingSettings) -> Iterator[conf.Problem]:
    places = _places(MIDDLEWARE)
    if not places:
        yield conf.Problem(
            path="MIDDLEWARE",
            message=f"has no {MIDDLEWARE!r}: orders do not get the tracking of the shoppers who place them.",
            hint=f"Add it after {SESSIONS!r} and {AUTHENTICATION!r}. If this project has no shoppers, silence "
            "bronto_orders.W071.",
            check=71,
            certain=False,
        )
        return
    ours = places[0]
    if len(places) > 1:
        yield conf.Problem(
            path="MIDDLEWARE",
            message=f"has {MIDDLEWARE!r} {len(places)} times.",
            hint="Leave the last one only.",
            check=72,
        )
    sessions, authentication = _places(SESSIONS), _places(AUTHENTICATION)
    if tracking.persist == "session" and not (sessions and sessions[0] < ours):
        yield conf.Problem(
            path="MIDDLEWARE",
            message=f"has no {SESSIONS!r} before {MIDDLEWARE!r}, so that PERSIST cannot keep a click in the session.",
            hint=f"Move {MIDDLEWARE!r} behind it." if sessions else f"Add it before {MIDDLEWARE!r}.",
            check=73,
        )
    if authentication and authentication[0] > ours:
        yield conf.Problem(
            path="MIDDLEWARE",
            message=f"has {MIDDLEWARE!r} before {AUTHENTICATION!r}: what runs between them takes staff for shoppers.",
            hint=f"Move {MIDDLEWARE!r} behind it.",
            check=74,
            certain=False,
        )


def _places(path: str) -> list[int]:
    """Return where in MIDDLEWARE a middleware stands, or one that is derived from it."""
    return [place for place, given in enumerate(settings.MIDDLEWARE) if path in _names(given)]


def _names(path: str) -> set[str]:
    try:
        classes = getattr(import_string(path), "__mro__", ())
    except ImportError:  # of which Django tells when it starts
        classes = ()
    return {path, *(f"{one.__module__}.{one.__qualname__}" for one in classes)}


def _cookie_problems(tracking: conf.TrackingSettings) -> Iterator[conf.Problem]:
    if tracking.persist != "cookie":
        return
    try:
        usable = bool(settings.SECRET_KEY)
    except ImproperlyConfigured:
        usable = False
    if not usable:
        yield conf.Problem(
            path="SECRET_KEY",
            message='is empty, and PERSIST "cookie" signs with it.',
            hint=f"Set it, or {conf.SETTING}['TRACKING']['PERSIST'] to None.",
            check=75,
        )
    names = {"SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "LANGUAGE_COOKIE_NAME"}
    for name in sorted(name for name in names if getattr(settings, name) == tracking.cookie_name):
        yield conf.Problem(
            path=f"{conf.SETTING}['TRACKING']['COOKIE_NAME']",
            message=f"is that of {name}, too.",
            hint="Choose another name.",
            check=45,
        )


def _database_problems() -> Iterator[conf.Problem]:
    for alias in connections:
        connection = connections[alias]
        name, given = str(connection.settings_dict["NAME"]), connection.settings_dict["OPTIONS"]
        if connection.vendor != "sqlite" or ":memory:" in name or "mode=memory" in name:
            # One in memory is this process's alone.
            continue
        mode = str(given.get("transaction_mode")).upper()
        if mode in {"IMMEDIATE", "EXCLUSIVE"} or not router.allow_migrate_model(alias, Order):
            continue
        lacking = {"transaction_mode"} | (set(SQLITE_OPTIONS) - set(given))
        options = ", ".join(f"{key}={value!r}" for key, value in SQLITE_OPTIONS.items() if key in lacking)
        yield conf.Problem(
            path=f"DATABASES[{alias!r}]['OPTIONS']['transaction_mode']",
            message='should be "IMMEDIATE", or writes fail with "database is locked" while others write.',
            hint=f"In the settings:\nDATABASES[{alias!r}].setdefault('OPTIONS', {{}}).update({options})",
            check=70,
            certain=False,
        )


def _credential_problems(account: conf.AccountSettings, path: str) -> Iterator[conf.Problem]:
    for key, value in (("CLIENT_ID", account.client_id), ("CLIENT_SECRET", account.client_secret)):
        if not value.strip():
            hint = "Copy it from the REST Integrations section of Bronto's Data Exchange page."
            yield conf.Problem(path=f"{path}[{key!r}]", message="is missing.", hint=hint, check=62)


def _url_problems(account: conf.AccountSettings, path: str) -> Iterator[conf.Problem]:
    for key, url in (("API_URL", account.api_url), ("TOKEN_URL", account.token_url)):
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in LOOPBACK:
            yield conf.Problem(
                path=f"{path}[{key!r}]",
                message="must be https: the client secret and orders would travel in the clear.",
                hint="Plain http is for loopback addresses only.",
                check=63,
            )


def _split_problems(account: conf.AccountSettings, path: str) -> Iterator[conf.Problem]:
    hosts = {
        key: urlsplit(url).hostname for key, url in (("API_URL", account.api_url), ("TOKEN_URL", account.token_url))
    }
    defaults = conf.AccountSettings(name="")
    own = {key: host for key, host in hosts.items() if host == urlsplit(getattr(defaults, key.lower())).hostname}
    if len(own) == 1:
        (key,) = own
        yield conf.Problem(
            path=f"{path}[{key!r}]",
            message=f"still leads to {own[key]}, while the other URL leads elsewhere.",
            hint="Set API_URL and TOKEN_URL together, or the credentials go to a service that does not know them.",
            check=67,
            certain=False,
        )


def _lease_problems(
    account: conf.AccountSettings, delivery: conf.DeliverySettings, path: str
) -> Iterator[conf.Problem]:
    needed = account.total_timeout + conf.GUARD_SECONDS
    if delivery.add_lease_seconds <= needed:
        yield conf.Problem(
            path=f"{conf.SETTING}['DELIVERY']['ADD_LEASE_SECONDS']",
            message=f"must be more than {needed:g}, the total time-out of {path} plus {conf.GUARD_SECONDS:g} s.",
            hint="A request must end before its lease does, or nothing is ever sent.",
            check=64,
        )
    needed += delivery.settle_seconds
    if delivery.update_lease_seconds <= needed:
        yield conf.Problem(
            path=f"{conf.SETTING}['DELIVERY']['UPDATE_LEASE_SECONDS']",
            message=f"must be more than {needed:g}: total time-out plus {conf.GUARD_SECONDS:g} s plus SETTLE_SECONDS.",
            hint="A worker that takes over an update must be sure that the earlier one can no longer land.",
            check=65,
        )


def check_celery(*, app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check that a broker in trouble holds up no save for long, and that what no message tells of is looked for."""
    try:
        return [_message(problem) for problem in celery_problems(current_app)]
    except Exception:  # settings that Celery does not take, of which it tells when it is started
        return []


def celery_problems(app: Celery) -> Iterator[conf.Problem]:
    """Yield what the project's Celery lacks; nothing where there is no broker, or none that others can reach."""
    schemes = set() if app.conf.task_always_eager else _broker_schemes(app.conf.broker_write_url)
    if schemes - {"memory"}:
        yield from _broker_problems(app, schemes)
        yield from _sweep_problems(app)


def _broker_schemes(url: str | Sequence[str] | None) -> set[str]:
    urls = url.split(";") if isinstance(url, str) else url or []
    # As kombu reads them: "sqla+postgresql://…" is for its transport "sqla", an address without scheme is RabbitMQ's.
    return {one.partition("://")[0].partition("+")[0].lower() if "://" in one else "amqp" for one in urls}


def _broker_problems(app: Celery, schemes: set[str]) -> Iterator[conf.Problem]:
    wanted: dict[str, float] = {}
    for scheme in sorted(schemes):
        wanted |= TRANSPORT_OPTIONS.get(scheme, _ANY_BROKER)
    given = app.conf.broker_transport_options or {}
    options = {name: value for name, value in wanted.items() if not _prompt(given.get(name), value)}
    others: dict[str, float] = {}
    if wanted and app.conf.task_publish_retry:
        others["TASK_PUBLISH_RETRY"] = False
    if schemes & AMQP and not _prompt(app.conf.broker_connection_timeout, 1):
        others["BROKER_CONNECTION_TIMEOUT"] = 1
    if not options and not others:
        return
    prefix = _prefix(app)
    names = [f"{prefix}_{name}" for name in others]
    lines = [f"{prefix}_{name} = {value}" for name, value in others.items()]
    if options:
        name = f"{prefix}_BROKER_TRANSPORT_OPTIONS"
        names += [f"{name}[{option!r}]" for option in options]
        shown = ", ".join(f'"{option}": {value}' for option, value in options.items())
        lines.append(f"{name} {'|=' if given else '='} {{{shown}}}")
    yield conf.Problem(
        path=", ".join(names),
        message="should be as below, or a broker in trouble holds up whoever sends it a message, perhaps for ever.",
        hint="\n".join(["In the Django settings:", *lines]),
        check=68,
        certain=False,
    )


def _prefix(app: Celery) -> str:
    return getattr(app, "namespace", None) or "CELERY"


def _prompt(given: object, wanted: object) -> bool:
    """Whether the value serves as well as the one that is wanted: the same switch, or a time-out that is short."""
    if wanted is True:
        return bool(given)
    if not isinstance(given, int | float) or isinstance(given, bool):
        return False
    return 0 < given <= LONGEST_TIMEOUT if wanted else given == 0


def _sweep_problems(app: Celery) -> Iterator[conf.Problem]:
    if apps.is_installed("django_celery_beat") or not str(app.conf.beat_scheduler).startswith("celery.beat"):
        # Schedules that are kept in a database are not looked into.
        return
    schedule = app.conf.beat_schedule or {}
    if SWEEP in {entry.get("task") for entry in schedule.values()}:
        return
    name = f"{_prefix(app)}_BEAT_SCHEDULE"
    entry = f'"bronto-orders-sweep": {{"task": "{SWEEP}", "schedule": 10.0, "options": {{"expires": 10}}}}'
    yield conf.Problem(
        path=name,
        message=f"has no {SWEEP}, which finds orders whose message was lost or whose time to be tried again has come.",
        hint=f"In the Django settings:\n{name} {'|=' if schedule else '='} {{{entry}}}\n"
        'If something else does it, such as "manage.py bronto_deliver --loop", silence bronto_orders.W069.',
        check=69,
        certain=False,
    )
