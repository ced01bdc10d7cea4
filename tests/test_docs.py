from __future__ import annotations

import re
from pathlib import Path

import pytest

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
