from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.samples import coffee_mug_order
from tests.sandbox.service import ROOT, Process, Service

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(900)]

HERE = Path(__file__).parent
DOCUMENT = ROOT / "bronto_orders" / "sandbox" / "openapi.json"
EXAMPLES = int(os.environ.get("BRONTO_FUZZ_EXAMPLES", "300"))
SECONDS = max(10, EXAMPLES // 6)
SEED = os.environ.get("BRONTO_FUZZ_SEED", "1")
OPERATIONS = 9


@pytest.fixture
def target() -> Iterator[Service]:
    """A sandbox of its own, with the order that the document's examples ask for; it must end without a complaint."""
    process = Process("--port", "0")
    service = Service(process.base_url)
    assert service.add(coffee_mug_order(), createContact="true").status_code == 201
    yield service
    service.close()
    assert process.stop() == (0, "", "")


class Schemathesis:
    """The program, and the report it writes."""

    def __init__(self, target: Service, folder: Path) -> None:
        self.target, self.folder = target, folder
        self.output = ""

    def run(self, document: Path, *arguments: str) -> dict[str, Any]:
        report = self.folder / "report.json"
        result = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "fuzz.toml"), "--no-color"),
                *("run", str(document), "--url", self.target.base_url, "--seed", SEED),
                *("--header", f"Authorization: Bearer {self.target.token}", "--generation-database", "none"),
                *("--report", "json", "--report-json-path", str(report), *arguments),
            ],
            cwd=self.folder,
            env={**os.environ, "SCHEMATHESIS_HOOKS": str(HERE / "fuzz_hooks.py"), "NO_PROXY": "127.0.0.1"},
            capture_output=True,
            text=True,
            timeout=800,
        )
        self.output = result.stdout + result.stderr
        assert report.exists(), self.output
        found = json.loads(report.read_text("utf-8"))
        assert result.returncode == found["exit_code"], self.output
        return dict(found)


@pytest.fixture
def schemathesis(request: pytest.FixtureRequest, tmp_path: Path) -> Schemathesis:
    if importlib.util.find_spec("schemathesis") is None:
        needed = "the Python package schemathesis is needed for this test"
        if os.environ.get("BRONTO_TEST_REQUIRE_SERVICES"):
            pytest.fail(needed)
        pytest.skip(needed)
    return Schemathesis(request.getfixturevalue("target"), tmp_path)


def test_no_answer_to_a_planned_call_is_outside_the_document(schemathesis: Schemathesis):
    report = schemathesis.run(DOCUMENT, "--phases", "examples,coverage")

    assert report["exit_code"] == 0, schemathesis.output
    assert [report["phases"][name]["status"] for name in ("examples", "coverage")] == ["success"] * 2
    assert report["operations"]["tested"] == report["operations"]["total"] == OPERATIONS
    assert report["test_cases"]["generated"] > 800
    assert {call["status"] for call in schemathesis.target.requests()} == {
        *(200, 201, 204, 400, 401, 403, 404, 405, 409, 415)
    }


def test_no_answer_to_a_random_call_is_outside_the_document(schemathesis: Schemathesis):
    report = schemathesis.run(DOCUMENT, "--phases", "fuzzing", "--max-examples", str(EXAMPLES))

    assert report["exit_code"] == 0, schemathesis.output
    assert report["phases"]["fuzzing"]["status"] == "success"
    assert report["operations"]["tested"] == OPERATIONS
    assert report["test_cases"]["generated"] > 4 * EXAMPLES
    assert report["filtered"] < EXAMPLES


def test_no_answer_in_a_sequence_is_outside_the_document(schemathesis: Schemathesis):
    # A pass ends early where a repeated add is answered otherwise, so there are passes until the time is up.
    limits = ("--max-examples", str(EXAMPLES), "--max-time", str(SECONDS))
    report = schemathesis.run(DOCUMENT, "--phases", "stateful", *limits)

    assert report["exit_code"] == 0, schemathesis.output
    assert report["phases"]["stateful"]["status"] == "success"
    # No link leads to the token.
    assert report["operations"]["tested"] == OPERATIONS - 1
    assert report["test_cases"]["generated"] > SECONDS
    assert report["filtered"] < report["test_cases"]["generated"] / 4


def test_what_is_wrong_is_found(schemathesis: Schemathesis, tmp_path: Path):
    wrong = json.loads(DOCUMENT.read_text("utf-8"))
    schemas = wrong["components"]["schemas"]
    del wrong["paths"]["/orders/{orderId}"]["get"]["responses"]["404"]
    del wrong["paths"]["/orders/customerOrderId/{customerOrderId}"]["delete"]
    wrong["components"]["headers"]["Reason"]["schema"]["const"] = "because"
    schemas["Order"]["properties"]["customerOrderId"]["maxLength"] = 2
    schemas["OrderFields"]["properties"]["currency"]["type"] = "integer"
    document = tmp_path / "wrong.json"
    document.write_text(json.dumps(wrong), "utf-8")

    report = schemathesis.run(document, "--phases", "examples,coverage", "--continue-on-failure")

    assert report["exit_code"] == 1, schemathesis.output
    assert {failure["title"] for failure in report["failures"]} >= {
        "Undocumented status code",
        "Wrong response to undeclared method",
        "Response header does not conform to the schema",
        "Response violates schema",
        "Schema-valid request rejected",
        "Schema-violating request accepted",
    }, schemathesis.output
