from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.test import RequestFactory

from bronto_orders.tracking import is_tid

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def test_every_failure_has_a_test_that_exists() -> None:
    rows = [
        line.split(" | ")[-1]
        for line in (ROOT / "docs" / "reliability.md").read_text("utf-8").splitlines()
        if line.startswith("| ") and not line.startswith("| Failure")
    ]
    assert len(rows) > 50
    for row in rows:
        named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", row)
        assert named, row
        for file, test in named:
            text = (ROOT / "tests" / file).read_text("utf-8")
            assert re.search(rf"^ *(async )?def {test}\(", text, re.MULTILINE), f"{file}::{test}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", document.read_text("utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (document.parent / target).exists(), target


def test_calls_can_be_pasted() -> None:
    tids = re.findall(r'"tid": "([^"]*)"', (ROOT / "docs" / "tracking.md").read_text("utf-8"))
    assert tids
    assert all(map(is_tid, tids))


def recipes() -> dict[str, Any]:
    """Return the hooks for CONSENT in the documentation, by the cookie that each reads."""
    section = (ROOT / "docs" / "tracking.md").read_text("utf-8").partition("## Consent")[2].partition("\n## ")[0]
    found = {}
    for code in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
        if cookie := re.search(r'COOKIES\.get\("(\w+)"', code):
            names: dict[str, Any] = {}
            exec(code, names)
            found[cookie[1]] = names["consent"]
    return found


COOKIEBOT = (
    "{{stamp:%27-%27%2Cnecessary:true%2Cpreferences:false%2Cstatistics:false%2Cmarketing:{}%2Cmethod:%27explicit%27"
    "%2Cver:1%2Cutc:1700000000000%2Cregion:%27de%27}}"
)
ONETRUST = (
    "isGpcEnabled=0&datestamp=Mon+Jan+01+2024&version=202401.1.0&landingPath=https%3A%2F%2Fshop.example%2F%26groups%3DC0004%3A1"
    "&groups=C0001%3A1%2CC0002%3A0%2CC0004%3A{}&AwaitingReconsent=false"
)


@pytest.mark.parametrize(
    ("cookie", "yes", "no"),
    [
        ("CookieConsent", [COOKIEBOT.format("true"), "-1"], [COOKIEBOT.format("false"), "0"]),
        ("OptanonConsent", [ONETRUST.format(1)], [ONETRUST.format(0), "groups=", "groups=C0004%3A10"]),
        ("cookieconsent_status", ["allow"], ["deny", "dismiss"]),
    ],
)
def test_recipes_for_consent_hear_what_the_tool_says(cookie: str, yes: list[str], no: list[str]) -> None:
    consent = recipes()[cookie]

    def ask(header: str) -> object:
        return consent(RequestFactory().get("/", headers={"Cookie": header}))

    assert [ask(f"{cookie}={value}") for value in yes] == [True] * len(yes)
    assert [ask(f"{cookie}={value}") for value in [*no, "", "%", "x=1"]] == [False] * (len(no) + 3)
    assert ask("other=1") is False
