"""System checks: what ``manage.py check`` says about the BRONTO_ORDERS setting and the project around the app.

Numbers are never used twice. E001-E002: shape of the dict; E011-E051: the type of one option each (the numbers stand
beside the options in ``conf.py``); E061-W067: what the values mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage

from bronto_orders import conf

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
MAX_ACCOUNT_NAME = 64


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
            getattr(tracking, f"{key.lower()}_hook")
        except ImportError:
            yield conf.Problem(
                path=f"{conf.SETTING}['TRACKING'][{key!r}]",
                message=f"is {getattr(tracking, key.lower())!r}, which cannot be imported.",
                hint="Give the dotted path of a callable.",
                check=number,
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
