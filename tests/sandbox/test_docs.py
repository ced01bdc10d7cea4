from __future__ import annotations

import re

from tests.sandbox.service import ROOT

DOCUMENT = (ROOT / "docs" / "sandbox.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"(test_\w+\.py)::(test_\w+)", DOCUMENT)))


def test_tests_are_named():
    assert len(NAMED) > 40


def test_named_tests_exist():
    for file, test in NAMED:
        text = (ROOT / "tests" / "sandbox" / file).read_text("utf-8")
        assert re.search(rf"^ *def {test}\(", text, re.MULTILINE), test


def test_every_control_path_is_documented():
    urls = (ROOT / "bronto_orders" / "sandbox" / "urls.py").read_text("utf-8")
    for path in re.findall(r'path\("(_sandbox/[^"]+)"', urls):
        assert f"/{path}`" in DOCUMENT, path
