from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from bronto_orders import conf
from bronto_orders.checks import check_settings

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


@pytest.mark.django_db
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
    },
    "TRACKING": {
        "CONSENT": (41, [True, 1]),
        "CLIENT_IP": (42, [True]),
        "PERSIST": (43, ["database", True]),
        "RESPECT_GPC": (44, ["yes"]),
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
    for number in [1, 2, *numbers, 61, 62, 63, 64, 65, 66]:
        assert f"E{number:03}" in documented
    assert "W067" in documented
