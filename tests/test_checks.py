from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any
from unittest import mock

import celery
import pytest
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.checks import CheckMessage, run_checks
from django.db.utils import ConnectionHandler
from django.test import override_settings

from bronto_orders import checks, conf
from bronto_orders.checks import check_celery, check_settings
from bronto_orders.middleware import TrackingMiddleware

GOOD = {"CLIENT_ID": "id", "CLIENT_SECRET": "secret"}


def ids(root: object) -> list[str]:
    with override_settings(BRONTO_ORDERS=root):
        return [str(message.id).removeprefix("bronto_orders.") for message in check_settings(app_configs=None)]


def messages(root: object) -> str:
    with override_settings(BRONTO_ORDERS=root):
        return "\n".join(f"{message.msg} {message.hint}" for message in check_settings(app_configs=None))


def account(**options: object) -> dict[str, Any]:
    return {"ACCOUNTS": {"default": {**GOOD, **options}}}


def test_good_settings_pass() -> None:
    assert ids(account()) == []


@pytest.mark.django_db(databases="__all__")
def test_runs_with_manage_check() -> None:
    with override_settings(BRONTO_ORDERS={"ACCOUNTS": []}):
        assert "bronto_orders.E001" in [message.id for message in run_checks()]


WRONG = {
    "CLIENT_ID": (11, [None, 1, b"id"]),
    "CLIENT_SECRET": (12, [None, 1]),
    "API_URL": (13, [None, "rest.bronto.com", "ftp://x", "https://", "https://x/?a=b", "https://me@x"]),
    "TOKEN_URL": (14, [None, "auth.bronto.com"]),
    "CREATE_CONTACT": (15, ["yes", 1, None]),
    "TRIGGER_EVENTS": (16, ["yes", 0]),
    "IGNORE_INVALID_TID": (17, ["no"]),
    "UPDATE_ORDER_DATE": (18, ["no"]),
    "CONNECT_TIMEOUT": (19, [0, "3", None, True]),
    "READ_TIMEOUT": (20, [0, -1, 1e9]),
    "TOTAL_TIMEOUT": (21, [0, None]),
    "PROXIES": (22, ["http://proxy", {"https": None}, {1: "x"}]),
    "CONCURRENCY": (23, [0, 1.5, "4", True, 1000]),
    "RATE_LIMIT": (24, [20, "20", "20/d", "0/s", ""]),
}
WRONG_IN_SECTIONS = {
    "DELIVERY": {
        "ENABLED": (31, ["on", None]),
        "BATCH_SIZE": (32, [0, 2000]),
        "ADD_LEASE_SECONDS": (33, [0, "30"]),
        "UPDATE_LEASE_SECONDS": (34, [0, None]),
        "SETTLE_SECONDS": (35, [-1, "75"]),
        "BACKOFF_BASE": (36, [0, None]),
        "BACKOFF_CAP": (37, [0, "x"]),
        "MAX_ATTEMPTS": (38, [0, 1.5]),
        "ENVIRONMENT": (39, ["", 5, True]),
    },
    "TRACKING": {
        "CONSENT": (41, [True, 1]),
        "CLIENT_IP": (42, [True]),
        "PERSIST": (43, ["database", True]),
        "RESPECT_GPC": (44, ["yes"]),
        "COOKIE_NAME": (45, ["", None, "tid_shop", "a b", "a;", "a=b", "ü", "n" * 65]),
        "COOKIE_AGE": (46, [0, 59, None, "3600", 3600.5, True, 10**9]),
        "CLEAR_AFTER_ORDER": (47, ["yes", None, 1]),
    },
    "PRIVACY": {
        "ON_DELETE": (81, ["forget", None, True]),
        "IP_DAYS": (82, [-1, "30", True, 1.5]),
        "USER_AGENT_DAYS": (83, [-1, 40000]),
        "LAST_SENT_DAYS": (84, ["never"]),
    },
    "SANDBOX": {"ENABLED": (51, ["yes", None]), "DATABASE": (52, [True, 5])},
}


@pytest.mark.parametrize("key", WRONG)
def test_each_account_option_has_a_type(key: str) -> None:
    number, values = WRONG[key]
    for value in values:
        assert ids(account(**{key: value})) == [f"E{number:03}"], value
        assert f"['default'][{key!r}]" in messages(account(**{key: value}))


@pytest.mark.parametrize(("section", "key"), [(s, k) for s, keys in WRONG_IN_SECTIONS.items() for k in keys])
def test_each_section_option_has_a_type(section: str, key: str) -> None:
    number, values = WRONG_IN_SECTIONS[section][key]
    for value in values:
        assert ids({**account(), section: {key: value}}) == [f"E{number:03}"], value


def test_no_option_is_left_untested() -> None:
    sections = {cls.section: set(conf.options(cls)) for cls in conf.SECTIONS}
    assert {name: set(keys) for name, keys in WRONG_IN_SECTIONS.items()} == sections
    assert set(WRONG) == set(conf.options(conf.AccountSettings))


def test_numbers_are_unique() -> None:
    numbers = [
        item.metadata["check"] for cls in (conf.AccountSettings, *conf.SECTIONS) for item in conf.options(cls).values()
    ]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize(
    "root", [[], "text", {"ACCOUNTS": []}, {"ACCOUNTS": {"default": []}}, {"DELIVERY": 1}], ids=repr
)
def test_shape(root: object) -> None:
    assert ids(root) == ["E001"]


@pytest.mark.parametrize("name", ["", "n" * 65, 5], ids=repr)
def test_account_names_fit_the_column(name: object) -> None:
    assert ids({"ACCOUNTS": {"default": GOOD, name: GOOD}}) == ["E001"]


@pytest.mark.parametrize(
    ("root", "suggestion"),
    [
        ({**account(), "DELIVRY": {}}, "'DELIVERY'"),
        ({**account(), "delivery": {}}, "'DELIVERY'"),
        (account(CLIENT_SECRETS="x"), "'CLIENT_SECRET'"),
        ({**account(), "DELIVERY": {"BATCHSIZE": 3}}, "'BATCH_SIZE'"),
        ({**account(), "SANDBOX": {"ZZZ": 3}}, "ENABLED"),
    ],
    ids=lambda value: str(value)[-30:],
)
def test_unknown_keys_are_reported_with_a_suggestion(root: object, suggestion: str) -> None:
    assert ids(root) == ["E002"]
    assert suggestion in messages(root)


def test_default_account_is_needed() -> None:
    assert ids({"ACCOUNTS": {"eu": GOOD}}) == ["E061"]
    assert ids({}) == ["E061"]


def test_credentials_are_needed() -> None:
    assert ids({"ACCOUNTS": {"default": {}}}) == ["E062", "E062"]
    assert ids(account(CLIENT_SECRET=" ")) == ["E062"]


@pytest.mark.parametrize("key", ["API_URL", "TOKEN_URL"])
def test_plain_http_is_for_loopback_alone(key: str) -> None:
    assert ids(account(**{key: "http://rest.bronto.com"}))[0] == "E063"
    for local in ("http://localhost:8899", "http://127.0.0.1:8899/x", "http://[::1]:8899"):
        assert ids(account(API_URL=local, TOKEN_URL=local)) == []


def test_leases_outlive_the_calls_they_cover() -> None:
    assert ids({**account(), "DELIVERY": {"ADD_LEASE_SECONDS": 20}}) == ["E064"]
    assert ids({**account(), "DELIVERY": {"UPDATE_LEASE_SECONDS": 95}}) == ["E065"]
    assert ids({**account(TOTAL_TIMEOUT=200.0)}) == ["E064", "E065"]


@pytest.mark.parametrize(("key", "number"), [("CONSENT", 41), ("CLIENT_IP", 42)])
def test_hooks_can_be_imported(key: str, number: int) -> None:
    root = {**account(), "TRACKING": {key: "nowhere.at_all"}}
    assert ids(root) == [f"E{number:03}"]
    assert "nowhere.at_all" in messages(root)
    assert ids({**account(), "TRACKING": {key: "os.sep"}}) == [f"E{number:03}"]
    assert ids({**account(), "TRACKING": {key: "os.getcwd"}}) == []


@pytest.mark.parametrize("key", ["API_URL", "TOKEN_URL"])
def test_both_urls_are_changed_together(key: str) -> None:
    assert ids(account(**{key: "https://bronto.example.com/x"})) == ["W067"]


@override_settings(USE_TZ=False)
def test_time_zone_support_is_needed() -> None:
    assert ids(account()) == ["E066"]


def test_no_message_repeats_a_secret() -> None:
    shown = messages(account(CLIENT_SECRET=["s3cret"], API_URL="s3cret", PROXIES="http://me:s3cret@proxy"))
    assert "s3cret" not in shown


def test_all_numbers_are_documented() -> None:
    documented = (Path(__file__).parents[1] / "docs" / "settings.md").read_text()
    numbers = [
        item.metadata["check"] for cls in (conf.AccountSettings, *conf.SECTIONS) for item in conf.options(cls).values()
    ]
    for number in [1, 2, *numbers, 61, 62, 63, 64, 65, 66, 72, 73, 75]:
        assert f"E{number:03}" in documented
    for number in (67, 68, 69, 70, 71, 74):
        assert f"W{number:03}" in documented


class TestMiddleware:
    SESSIONS, USERS, OURS = checks.SESSIONS, checks.AUTHENTICATION, checks.MIDDLEWARE

    def check(self, *middleware: str, **tracking: Any) -> list[CheckMessage]:
        with override_settings(MIDDLEWARE=middleware, BRONTO_ORDERS={**account(), "TRACKING": tracking}):
            return check_settings(app_configs=None)

    def ids(self, *middleware: str, **tracking: Any) -> list[str]:
        return [str(message.id).removeprefix("bronto_orders.") for message in self.check(*middleware, **tracking)]

    @pytest.mark.parametrize("persist", [None, "session", "cookie"])
    def test_the_right_order_passes(self, persist: str | None) -> None:
        common = "django.middleware.common.CommonMiddleware"
        assert self.ids(self.SESSIONS, common, self.USERS, self.OURS, common, PERSIST=persist) == []

    def test_missing(self) -> None:
        assert self.ids(self.SESSIONS, self.USERS) == ["W071"]
        assert self.ids() == self.ids(PERSIST="session") == self.ids("nowhere.at_all") == ["W071"]

    def test_doubled(self) -> None:
        assert self.ids(self.SESSIONS, self.USERS, self.OURS, self.OURS) == ["E072"]

    @pytest.mark.parametrize("persist", [None, "session", "cookie"])
    def test_before_sessions_or_without(self, persist: str | None) -> None:
        expected = ["E073"] if persist == "session" else []
        assert self.ids(self.OURS, self.SESSIONS, PERSIST=persist) == expected
        assert self.ids(self.OURS, PERSIST=persist) == expected

    def test_what_is_not_there_cannot_be_moved(self) -> None:
        (moved,) = self.check(self.OURS, self.SESSIONS, PERSIST="session")
        (added,) = self.check(self.OURS, PERSIST="session")
        assert (moved.hint, added.hint) == (f"Move {self.OURS!r} behind it.", f"Add it before {self.OURS!r}.")

    def test_before_users(self) -> None:
        assert self.ids(self.SESSIONS, self.OURS, self.USERS, PERSIST="session") == ["W074"]
        assert self.ids(self.OURS, self.SESSIONS, self.USERS, PERSIST="session") == ["E073", "W074"]

    def test_derived_ones_count_as_theirs(self) -> None:
        ours, sessions = f"{__name__}.OwnTracking", f"{__name__}.OwnSessions"
        assert self.ids(sessions, ours, PERSIST="session") == []
        assert self.ids(sessions, ours, self.OURS) == ["E072"]

    def test_each_has_a_hint(self) -> None:
        with override_settings(SECRET_KEY=""):
            found = [*self.check(), *self.check(self.OURS, self.OURS, self.USERS, PERSIST="session")]
            found += self.check(self.OURS, PERSIST="cookie")
        assert [str(message.id)[-4:] for message in found] == ["W071", "E072", "E073", "W074", "E075"]
        assert all(message.hint for message in found)

    @pytest.mark.parametrize(("key", "expected"), [("", ["E075"]), (None, ["E075"]), ("s3cret", []), (b"s3cret", [])])
    def test_a_signed_cookie_needs_a_key(self, key: Any, expected: list[str]) -> None:
        with override_settings(SECRET_KEY=key):
            assert self.ids(self.OURS, PERSIST="cookie") == expected
            assert self.ids(self.OURS) == []

    def test_the_cookie_has_a_name_of_its_own(self) -> None:
        assert self.ids(self.OURS, PERSIST="cookie", COOKIE_NAME="sessionid") == ["E045"]
        assert self.ids(self.OURS, COOKIE_NAME="csrftoken") == []


class OwnTracking(TrackingMiddleware): ...


class OwnSessions(SessionMiddleware): ...


SWEEP = {"sweep": {"task": "bronto_orders.sweep", "schedule": 10.0}}
PROMPT: dict[str, dict[str, Any]] = {
    "redis": {
        "TASK_PUBLISH_RETRY": False,
        "BROKER_TRANSPORT_OPTIONS": {"max_retries": 0, "socket_timeout": 0.5, "socket_connect_timeout": 0.5},
    },
    "amqp": {
        "TASK_PUBLISH_RETRY": False,
        "BROKER_CONNECTION_TIMEOUT": 1,
        "BROKER_TRANSPORT_OPTIONS": {
            "max_retries": 0,
            "confirm_publish": True,
            "read_timeout": 1,
            "write_timeout": 1,
        },
    },
    "sqs": {"TASK_PUBLISH_RETRY": False, "BROKER_TRANSPORT_OPTIONS": {"max_retries": 0}},
    "filesystem": {},
    "memory": {},
}
URLS = {
    "redis://:s3cret@broker/0": "redis",
    "rediss://broker": "redis",
    "redis+socket:///run/redis.sock": "redis",
    "sentinel://one;sentinel://two": "redis",
    "amqp://shop:s3cret@broker//": "amqp",
    "pyamqp://broker": "amqp",
    "broker": "amqp",
    "sqs://key:s3cret@": "sqs",
    "sqla+postgresql://shop:s3cret@broker/db": "sqs",
    "demo://": "sqs",
    "filesystem://": "filesystem",
    "memory://": "memory",
}


class TestSQLite:
    FILE = {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3"}

    def check(self, monkeypatch: pytest.MonkeyPatch, **database: Any) -> list[CheckMessage]:
        shop = {**self.FILE, **database}
        monkeypatch.setattr(checks, "connections", ConnectionHandler({"default": {}, "shop": shop}))
        with override_settings(BRONTO_ORDERS=account()):
            return check_settings(app_configs=None)

    @pytest.mark.parametrize(
        ("options", "lacking"),
        [
            ({}, ["init_command", "timeout", "transaction_mode"]),
            ({"timeout": 60}, ["init_command", "transaction_mode"]),
            (
                {"transaction_mode": "deferred", "init_command": "PRAGMA journal_mode=WAL;"},
                ["timeout", "transaction_mode"],
            ),
            ({"transaction_mode": None, "timeout": 5}, ["init_command", "transaction_mode"]),
        ],
        ids=str,
    )
    def test_what_a_file_lacks_can_be_pasted(
        self, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], lacking: list[str]
    ) -> None:
        (message,) = self.check(monkeypatch, OPTIONS=options)
        assert message.id == "bronto_orders.W070"
        assert "shop" in message.msg
        pasted: dict[str, Any] = {"shop": {}}
        exec(str(message.hint).splitlines()[1], {"DATABASES": pasted})
        assert sorted(pasted["shop"]["OPTIONS"]) == lacking
        assert self.check(monkeypatch, OPTIONS={**options, **pasted["shop"]["OPTIONS"]}) == []

    @pytest.mark.parametrize(
        "database",
        [
            {"OPTIONS": {"transaction_mode": "immediate"}},
            {"OPTIONS": {"transaction_mode": "EXCLUSIVE"}},
            {"NAME": ":memory:"},
            {"NAME": "file:shop?mode=memory&cache=shared"},
            {"ENGINE": "django.db.backends.dummy"},
        ],
        ids=str,
    )
    def test_others_pass(self, monkeypatch: pytest.MonkeyPatch, database: dict[str, Any]) -> None:
        assert self.check(monkeypatch, **database) == []

    def test_a_database_without_orders_passes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(checks.router, "allow_migrate_model", lambda alias, model: alias != "shop")
        assert self.check(monkeypatch) == []

    def test_the_tests_and_the_demo_pass(self) -> None:
        assert ids(account()) == []
        demo = textwrap.dedent("""
            import django
            django.setup()
            from django.core.checks import run_checks
            print([message.id for message in run_checks()])
        """)
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "demo_project.settings"}
        environment = {name: value for name, value in environment.items() if name != "DATABASE_URL"}
        found = subprocess.check_output([sys.executable, "-c", demo], env=environment, text=True, timeout=60)
        assert "bronto_orders" not in found


class TestCelery:
    @pytest.fixture(autouse=True)
    def no_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("CELERY_BROKER_URL", "CELERY_BROKER_WRITE_URL", "CELERY_BROKER_READ_URL"):
            monkeypatch.delenv(name, raising=False)

    def check(self, namespace: str = "CELERY", **options: Any) -> list[CheckMessage]:
        """Return what the check says to a project with these settings of Celery."""
        app = celery.Celery("shop", set_as_current=False)
        app.config_from_object("django.conf:settings", namespace=namespace)
        settings = override_settings(**{f"{namespace}_{name}": value for name, value in options.items()})
        with settings, mock.patch.object(checks, "current_app", app):
            return check_celery(app_configs=None)

    def ids(self, **options: Any) -> list[str]:
        return [str(message.id).removeprefix("bronto_orders.") for message in self.check(**options)]

    def test_complete_settings_pass(self) -> None:
        for url, kind in URLS.items():
            assert self.ids(BROKER_URL=url, BEAT_SCHEDULE=SWEEP, **PROMPT[kind]) == [], url

    @pytest.mark.parametrize("url", URLS)
    def test_what_is_said_to_paste_is_all_that_it_takes(self, url: str) -> None:
        found = self.check(BROKER_URL=url)
        kind = URLS[url]
        expected = {"memory": [], "filesystem": ["W069"]}.get(kind, ["W068", "W069"])
        assert [str(message.id).removeprefix("bronto_orders.") for message in found] == expected
        pasted: dict[str, Any] = {}
        for message in found:
            lines = [line for line in str(message.hint).splitlines() if line.startswith("CELERY_")]
            assert lines
            exec("\n".join(lines), pasted)
        given = {name.removeprefix("CELERY_"): value for name, value in pasted.items() if name.startswith("CELERY_")}
        assert {name: value for name, value in given.items() if name != "BEAT_SCHEDULE"} == PROMPT[kind]
        assert self.ids(BROKER_URL=url, **given) == []
        assert "s3cret" not in str(found)

    def test_one_warning_names_each_that_is_missing(self) -> None:
        options = PROMPT["redis"]["BROKER_TRANSPORT_OPTIONS"]
        (message,) = self.check(
            BROKER_URL="redis://", BEAT_SCHEDULE=SWEEP, BROKER_TRANSPORT_OPTIONS={**options, "socket_timeout": 60}
        )
        assert message.msg.startswith("CELERY_TASK_PUBLISH_RETRY, CELERY_BROKER_TRANSPORT_OPTIONS['socket_timeout'] ")
        assert str(message.hint).splitlines()[1:] == [
            "CELERY_TASK_PUBLISH_RETRY = False",
            'CELERY_BROKER_TRANSPORT_OPTIONS |= {"socket_timeout": 0.5}',
        ]

    @pytest.mark.parametrize("kind", ["redis", "amqp"])
    def test_each_is_needed(self, kind: str) -> None:
        complete = {"BROKER_URL": f"{kind}://", "BEAT_SCHEDULE": SWEEP, **PROMPT[kind]}
        for name in PROMPT[kind]:
            assert self.ids(**{key: value for key, value in complete.items() if key != name}) == ["W068"], name
        options = PROMPT[kind]["BROKER_TRANSPORT_OPTIONS"]
        for name in options:
            for value in (None, 30, "0.5"):
                unsafe = {**options, name: value}
                if name == "confirm_publish" and value:
                    continue
                assert self.ids(**{**complete, "BROKER_TRANSPORT_OPTIONS": unsafe}) == ["W068"], unsafe

    def test_other_short_times_will_do(self) -> None:
        options = {"max_retries": 0, "socket_timeout": 2, "socket_connect_timeout": 0.1, "visibility_timeout": 60}
        given = {**PROMPT["redis"], "BROKER_TRANSPORT_OPTIONS": options}
        assert self.ids(BROKER_URL="redis://", BEAT_SCHEDULE=SWEEP, **given) == []

    def test_the_broker_that_is_written_to_counts(self) -> None:
        urls = {"BROKER_URL": "memory://", "BROKER_WRITE_URL": "redis://"}
        assert self.ids(**urls, BEAT_SCHEDULE=SWEEP) == ["W068"]

    def test_several_brokers_need_what_each_needs(self) -> None:
        (message,) = self.check(BROKER_URL=["redis://", "amqp://"], BEAT_SCHEDULE=SWEEP)
        assert all(name in message.msg for name in ("socket_timeout", "read_timeout", "CONNECTION_TIMEOUT"))

    def test_nothing_is_asked_of_a_project_without_a_broker(self) -> None:
        assert self.check() == []
        assert self.check(BROKER_URL="redis://", TASK_ALWAYS_EAGER=True) == []

    def test_another_namespace(self) -> None:
        for message in self.check("QUEUE", BROKER_URL="redis://"):
            assert "QUEUE_" in message.msg
            assert "CELERY_" not in f"{message.msg} {message.hint}"

    @pytest.mark.parametrize(
        "options",
        [
            {"BEAT_SCHEDULE": {"mine": {"task": "bronto_orders.sweep", "schedule": 1.0}}},
            {"BEAT_SCHEDULER": "django_celery_beat.schedulers:DatabaseScheduler"},
        ],
        ids=str,
    )
    def test_somebody_sweeps(self, options: dict[str, Any]) -> None:
        assert self.ids(BROKER_URL="filesystem://", **options) == []

    def test_a_schedule_that_others_use_is_kept(self) -> None:
        (message,) = self.check(
            BROKER_URL="filesystem://", BEAT_SCHEDULE={"mail": {"task": "shop.mail", "schedule": 60.0}}
        )
        assert message.id == "bronto_orders.W069"
        assert "CELERY_BEAT_SCHEDULE |= {" in str(message.hint)

    def test_a_scheduler_given_on_the_command_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(checks.apps, "is_installed", lambda name: name == "django_celery_beat")
        assert self.ids(BROKER_URL="filesystem://") == []

    @pytest.mark.parametrize("options", [{"BROKER_TRANSPORT_OPTIONS": 5}, {"BEAT_SCHEDULE": [5]}, {"BROKER_URL": 5}])
    def test_wrong_settings_are_celerys_to_report(self, options: dict[str, Any]) -> None:
        assert self.ids(**{"BROKER_URL": "redis://", **options}) == []

    @pytest.mark.django_db(databases="__all__")
    def test_runs_with_manage_check(self) -> None:
        app = celery.Celery("shop", broker="redis://", set_as_current=False)
        with mock.patch.object(checks, "current_app", app):
            assert {"bronto_orders.W068", "bronto_orders.W069"} <= {message.id for message in run_checks()}

    def test_the_settings_of_the_readme_pass(self) -> None:
        readme = (Path(__file__).parents[1] / "README.md").read_text()
        (snippet,) = re.findall(r"```python\n(# settings\.py\n.*?)```", readme, re.DOTALL)
        given: dict[str, Any] = {}
        exec(snippet, given)
        assert ids(given["BRONTO_ORDERS"]) == []
        options = {name.removeprefix("CELERY_"): value for name, value in given.items() if name.startswith("CELERY_")}
        assert self.ids(**options) == []
