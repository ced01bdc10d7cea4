"""What the protocol's rules are worth: with all of them nothing goes wrong, without one of them something does.

``BRONTO_MODEL_SAVES=3`` (2 by default) lets the shop write once more, and takes some times as long.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from tests.protocol.model import Rules, explore

SAVES = int(os.environ.get("BRONTO_MODEL_SAVES", "2"))


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param(Rules(saves=SAVES), id="new-contents"),
        pytest.param(Rules(saves=SAVES, alternating=True, settle=1, late=0), id="to-and-fro"),
        pytest.param(Rules(saves=SAVES - 1, deletions=1), id="deleted-at-the-service"),
        pytest.param(Rules(saves=SAVES - 1, settle=3, late=2), id="later-landings"),
    ],
)
def test_nothing_goes_wrong(rules: Rules) -> None:
    """No stale end, no older state over a newer one even for a moment, no two updates under way, nothing stuck."""
    findings = explore(rules)
    assert not findings.ways, "\n\n".join(f"{kind}:\n{way}" for kind, way in findings.ways.items())
    assert findings.states > 1_000


@pytest.mark.parametrize(
    ("kind", "rules"),
    [
        pytest.param("stale end", Rules(saves=1, settles=False), id="no-settle-time"),
        pytest.param("regression", Rules(saves=1, settles=False), id="no-settle-time-for-a-moment"),
        pytest.param("two updates", Rules(saves=1, settles=False), id="no-settle-time-at-once"),
        pytest.param("stale end", Rules(saves=1, long_leases=False), id="short-update-leases"),
        pytest.param("regression", Rules(saves=1, guarded=False, settle=1, late=0), id="no-deadline-guard"),
        pytest.param("stale end", Rules(saves=1, fenced=False), id="no-fencing"),
        pytest.param("stale end", Rules(saves=1, reads_after_claim=False), id="content-read-before-the-claim"),
        pytest.param("stale end", Rules(saves=2, forgets=False), id="field-not-cleared"),
        pytest.param("stale end", Rules(saves=2, forgets=False, alternating=True), id="taken-for-unchanged"),
        pytest.param("stuck", Rules(saves=0, takes_over=False), id="leases-that-never-end"),
    ],
)
def test_every_rule_is_needed(kind: str, rules: Rules) -> None:
    assert kind in explore(rules, until=kind).ways


def test_repair_is_for_a_worker_stopped_between_the_guard_and_the_socket() -> None:
    """While the guard holds there is nothing to repair; when it cannot, the end is right if not each moment before."""
    assert not explore(Rules(saves=1, repairs=False)).ways
    stopped = Rules(saves=1, guarded=False, kills=False, settle=1, late=0)
    assert "stale end" in explore(replace(stopped, repairs=False), until="stale end").ways
    assert explore(stopped).ways.keys() == {"two updates", "regression"}


@pytest.mark.parametrize(
    ("kind", "rules"),
    [
        pytest.param("stale end", Rules(saves=1, settle=1, late=1), id="requests-land-within-the-settle-time"),
        pytest.param("two orders", Rules(saves=0, unique_numbers=False), id="the-service-adds-no-number-twice"),
    ],
)
def test_what_is_taken_for_granted(kind: str, rules: Rules) -> None:
    """These are the service's promises; no rule of ours stands in for them."""
    assert kind in explore(rules, until=kind).ways


def test_what_goes_wrong_can_be_read() -> None:
    way = explore(Rules(saves=1, settles=False), until="stale end").ways["stale end"].splitlines()
    for step in ("the shop saves", "A: gives up on update v1", "A: update v2 lands: ok", "update v1 lands late: ok"):
        assert step in way
    assert way[-2].startswith("Row(version=2, due=None, ")
    assert way[-1].startswith("Remote(version=1, ")
