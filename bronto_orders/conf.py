"""Typed settings, read from ``settings.BRONTO_ORDERS`` on every access.

Each option stands once, as a dataclass field: its name in upper case is the key, its annotation the type, its default
the default. The system checks walk the same fields, so what is documented, checked and read cannot drift apart.
Nothing is cached: ``override_settings`` works.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from os import PathLike
from typing import Any, ClassVar, TypeVar

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.module_loading import import_string

from bronto_orders.exceptions import BrontoConfigurationError

SETTING = "BRONTO_ORDERS"
DEFAULT_ACCOUNT = "default"

#: Seconds between the last moment at which a request may still be under way and the end of its lease.
GUARD_SECONDS = 5.0

#: Returns what is wrong with a value, in words that follow "must be", or None when it is fine.
Rule = Callable[[object], str | None]


def _boolean(value: object) -> str | None:
    return None if isinstance(value, bool) else "True or False"


def _text(value: object) -> str | None:
    return None if isinstance(value, str) else "a string"


def _url(value: object) -> str | None:
    well_formed = isinstance(value, str) and re.fullmatch(r"https?://[^\s/?#@]+[^\s?#@]*", value)
    return None if well_formed else "a URL that begins with http:// or https://, without user name and query"


def _integer(low: int, high: int) -> Rule:
    def rule(value: object) -> str | None:
        fits = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return None if fits else f"a whole number from {low} to {high}"

    return rule


def _seconds(low: float, high: float) -> Rule:
    def rule(value: object) -> str | None:
        fits = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        return None if fits else f"a number of seconds from {low:g} to {high:g}"

    return rule


def _proxies(value: object) -> str | None:
    fits = value is None or (
        isinstance(value, Mapping) and all(isinstance(part, str) for item in value.items() for part in item)
    )
    return None if fits else "None or a dict of scheme to proxy URL, as requests takes it"


def _rate(value: object) -> str | None:
    fits = value is None or (isinstance(value, str) and RATE.fullmatch(value))
    return None if fits else 'None or a rate such as "20/s", "600/m" or "10000/h"'


def _hook(value: object) -> str | None:
    return None if value is None or callable(value) or isinstance(value, str) else "None, a callable or its dotted path"


def _name(value: object) -> str | None:
    return None if value is None or (isinstance(value, str) and value) else "None or a name"


def _database(value: object) -> str | None:
    return None if value is None or isinstance(value, str | PathLike) else "None or the path of an SQLite file"


def _persist(value: object) -> str | None:
    return None if value in (None, "session", "cookie") else 'None, "session" or "cookie"'


def _cookie_name(value: object) -> str | None:
    fits = isinstance(value, str) and re.fullmatch(r"(?!tid_)[A-Za-z0-9_-]{1,64}", value)
    return None if fits else 'letters, digits, "_" and "-", and may not begin with "tid_", as Bronto\'s own cookies do'


def _on_delete(value: object) -> str | None:
    return None if value in ("keep", "delete") else '"keep" or "delete"'


def _days(value: object) -> str | None:
    fits = value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 36500)
    return None if fits else "None or a whole number of days up to 36500"


RATE = re.compile(r"([1-9]\d{0,6})/([smh])")


def option(default: Any, rule: Rule, check: int, *, repr: bool = True) -> Any:
    """Declare a setting: its default, the rule for its value and the number of the system check that reports it."""
    return field(default=default, repr=repr, metadata={"rule": rule, "check": check})


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing wrong in the settings: where (a path into the dict), what, what to do, and its check number.

    ``certain`` is False for what is most likely a mistake and may be meant.
    """

    path: str
    message: str
    hint: str
    check: int
    certain: bool = True

    def __str__(self) -> str:
        return f"{self.path} {self.message} {self.hint}".strip()


@dataclass(frozen=True, kw_only=True)
class AccountSettings:
    """One Bronto account: where it is, who we are there, and how we speak to it."""

    section: ClassVar[str] = "ACCOUNTS"

    name: str
    client_id: str = option("", _text, 11, repr=False)
    client_secret: str = option("", _text, 12, repr=False)
    api_url: str = option("https://rest.bronto.com", _url, 13)
    token_url: str = option("https://auth.bronto.com/oauth2/token", _url, 14)
    create_contact: bool = option(False, _boolean, 15)
    trigger_events: bool = option(True, _boolean, 16)
    ignore_invalid_tid: bool = option(True, _boolean, 17)
    update_order_date: bool = option(False, _boolean, 18)
    connect_timeout: float = option(3.0, _seconds(0.1, 60), 19)
    read_timeout: float = option(10.0, _seconds(0.1, 300), 20)
    total_timeout: float = option(15.0, _seconds(0.1, 300), 21)
    proxies: Mapping[str, str] | None = option(None, _proxies, 22, repr=False)
    concurrency: int = option(16, _integer(1, 256), 23)
    rate_limit: str | None = option(None, _rate, 24)


@dataclass(frozen=True, kw_only=True)
class DeliverySettings:
    """How the engine claims, repeats and gives up. Times in seconds."""

    section: ClassVar[str] = "DELIVERY"

    enabled: bool = option(True, _boolean, 31)
    batch_size: int = option(100, _integer(1, 1000), 32)
    add_lease_seconds: float = option(30, _seconds(1, 3600), 33)
    update_lease_seconds: float = option(100, _seconds(1, 3600), 34)
    settle_seconds: float = option(75, _seconds(0, 3600), 35)
    backoff_base: float = option(2, _seconds(0.01, 3600), 36)
    backoff_cap: float = option(300, _seconds(0.01, 86400), 37)
    max_attempts: int = option(8, _integer(1, 100), 38)
    environment: str | None = option(None, _name, 39)


@dataclass(frozen=True, kw_only=True)
class TrackingSettings:
    """What the middleware may read and keep."""

    section: ClassVar[str] = "TRACKING"

    consent: Callable[[HttpRequest], bool] | str | None = option(None, _hook, 41)
    client_ip: Callable[[HttpRequest], str | None] | str | None = option(None, _hook, 42)
    persist: str | None = option(None, _persist, 43)
    respect_gpc: bool = option(True, _boolean, 44)
    cookie_name: str = option("bronto_orders_tid", _cookie_name, 45)
    cookie_age: int = option(30 * 24 * 3600, _integer(60, 400 * 24 * 3600), 46)
    clear_after_order: bool = option(False, _boolean, 47)

    @cached_property
    def consent_hook(self) -> Callable[[HttpRequest], bool] | None:
        """The CONSENT callable. Raises ImportError when its dotted path leads nowhere."""
        return import_string(self.consent) if isinstance(self.consent, str) else self.consent

    @cached_property
    def client_ip_hook(self) -> Callable[[HttpRequest], str | None] | None:
        """The CLIENT_IP callable. Raises ImportError when its dotted path leads nowhere."""
        return import_string(self.client_ip) if isinstance(self.client_ip, str) else self.client_ip


@dataclass(frozen=True, kw_only=True)
class PrivacySettings:
    """What becomes of an order at Bronto when the shop deletes its row, and how long personal data is kept here."""

    section: ClassVar[str] = "PRIVACY"

    on_delete: str = option("keep", _on_delete, 81)
    ip_days: int | None = option(None, _days, 82)
    user_agent_days: int | None = option(None, _days, 83)
    last_sent_days: int | None = option(None, _days, 84)


@dataclass(frozen=True, kw_only=True)
class SandboxSettings:
    """Whether this project serves the sandbox itself."""

    section: ClassVar[str] = "SANDBOX"

    enabled: bool = option(False, _boolean, 51)
    database: str | PathLike[str] | None = option(None, _database, 52)


Section = TypeVar("Section", AccountSettings, DeliverySettings, TrackingSettings, PrivacySettings, SandboxSettings)

#: The sections that hold options directly; ACCOUNTS holds one such dict for each account.
SECTIONS: tuple[type[DeliverySettings | TrackingSettings | PrivacySettings | SandboxSettings], ...] = (
    DeliverySettings,
    TrackingSettings,
    PrivacySettings,
    SandboxSettings,
)


def options(cls: type[Any]) -> dict[str, Field[Any]]:
    """Return the settings that a section knows, by key."""
    return {item.name.upper(): item for item in fields(cls) if "rule" in item.metadata}


class BrontoSettings:
    """``settings.BRONTO_ORDERS``, typed.

    Every attribute raises BrontoConfigurationError when the part that it reads is wrong; ``manage.py check`` reports
    all that is wrong at once.
    """

    @property
    def accounts(self) -> dict[str, AccountSettings]:
        """Every configured account by name."""
        return {name: self.account(name) for name in self._mapping("ACCOUNTS")}

    @property
    def account_names(self) -> list[str]:
        """The configured accounts' names, without a look at what they hold."""
        return list(self._mapping("ACCOUNTS"))

    def account(self, name: str) -> AccountSettings:
        """Return one account. Raises BrontoConfigurationError for a name that is not configured."""
        accounts = self._mapping("ACCOUNTS")
        if name not in accounts:
            known = ", ".join(sorted(map(repr, accounts))) or "none"
            raise BrontoConfigurationError(
                f"{SETTING}['ACCOUNTS'] has no account {name!r} (configured: {known}). "
                "Add it there, or correct the order's account."
            )
        return _build(AccountSettings, accounts[name], f"{SETTING}['ACCOUNTS'][{name!r}]", name=name)

    @property
    def delivery(self) -> DeliverySettings:
        """The DELIVERY section."""
        return self._section(DeliverySettings)

    @property
    def tracking(self) -> TrackingSettings:
        """The TRACKING section."""
        return self._section(TrackingSettings)

    @property
    def privacy(self) -> PrivacySettings:
        """The PRIVACY section."""
        return self._section(PrivacySettings)

    @property
    def sandbox(self) -> SandboxSettings:
        """The SANDBOX section."""
        return self._section(SandboxSettings)

    def _section(self, cls: type[Section]) -> Section:
        return _build(cls, self._mapping(cls.section), f"{SETTING}[{cls.section!r}]")

    def _mapping(self, section: str) -> Mapping[str, Any]:
        root = getattr(settings, SETTING, {})
        found = root.get(section, {}) if isinstance(root, Mapping) else root
        if not isinstance(found, Mapping):
            raise BrontoConfigurationError(f"{SETTING} and its section {section!r} must be dicts.")
        return found


def _build(cls: type[Section], given: object, path: str, **known: Any) -> Section:
    problems = list(section_problems(cls, given, path))
    if problems:
        raise BrontoConfigurationError(" ".join(map(str, problems)))
    assert isinstance(given, Mapping)  # noqa: S101 - section_problems has just said so
    return cls(**known, **{key.lower(): value for key, value in given.items()})


def section_problems(cls: type[Any], given: object, path: str) -> Iterator[Problem]:
    """Yield what is wrong with the keys and types of one section."""
    if not isinstance(given, Mapping):
        yield Problem(path=path, message="must be a dict.", hint="", check=1)
        return
    known = options(cls)
    for key, value in given.items():
        if key not in known:
            yield unknown_key(path, key, known)
        elif expected := known[key].metadata["rule"](value):
            shown = f"the {type(value).__name__} that is there" if key in _UNSPEAKABLE else repr(value)
            message = f"must be {expected}, not {shown}."
            yield Problem(path=f"{path}[{key!r}]", message=message, hint="", check=known[key].metadata["check"])


#: Options whose value is not repeated in a message: a secret may have been typed there.
_UNSPEAKABLE = {"CLIENT_ID", "CLIENT_SECRET", "API_URL", "TOKEN_URL", "PROXIES"}


def unknown_key(path: str, key: object, known: Iterable[str]) -> Problem:
    """Describe a key that nobody reads, with the nearest one that somebody does."""
    near = difflib.get_close_matches(str(key).upper(), known, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(known))}."
    return Problem(path=path, message=f"has the unknown key {key!r}.", hint=hint, check=2)


bronto_settings = BrontoSettings()
