from __future__ import annotations

import json
import re
import subprocess
import sys
from textwrap import dedent

import pytest

from tests.sandbox.service import ROOT, Service

DOCUMENT = (ROOT / "docs" / "sandbox.md").read_text("utf-8")
SOURCE = ROOT / "bronto_orders" / "sandbox"
NAMED = sorted(set(re.findall(r"(test_\w+\.py)::(test_\w+)", DOCUMENT)))
RECIPES = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)]
SNIPPETS = [
    dedent(block)
    for block in re.findall(r"^ *```python\n(.*?)^ *```", DOCUMENT, re.DOTALL | re.MULTILINE)
    if "import" in block and "urls.py" not in block
]


def names_in_rows(section: str) -> list[str]:
    """What the first column of a section's tables names."""
    _, _, rest = DOCUMENT.partition(f"# {section}\n")
    body, _, _ = rest.partition("\n#")
    assert body, section
    return re.findall(r"^\| `(\S+)` \|", body, re.MULTILINE)


def test_tests_are_named():
    assert len(NAMED) > 60


def test_named_tests_exist():
    for file, test in NAMED:
        text = (ROOT / "tests" / "sandbox" / file).read_text("utf-8")
        assert re.search(rf"^ *def {test}\(", text, re.MULTILINE), test


def test_every_rule_has_a_test():
    _, _, rules = DOCUMENT.partition("| Rule | Source | Test |\n|---|---|---|\n")
    rows = [row.strip("|").split("|") for row in rules.partition("\n\n")[0].splitlines()]

    assert len(rows) > 60
    for rule, source, tests in rows:
        assert rule.startswith(" **") or (source.strip() and ".py" in tests), rule


def test_every_control_call_is_documented():
    documented = set()
    for cell in re.findall(r"^\| (`[A-Z][^|]*/_sandbox/[^|]*) \|", DOCUMENT, re.MULTILINE):
        methods, _, path = cell.replace("`", "").partition("/_sandbox/")
        documented |= {(method, path) for method in methods.replace(",", " ").split()}
    _, _, routes = (SOURCE / "control.py").read_text("utf-8").partition("_ROUTES: Final")
    served = {
        (method, path)
        for path, handlers in re.findall(r'^    "([^"]*)": \{(.*)\},$', routes, re.MULTILINE)
        for method in re.findall(r'"([A-Z]+)":', handlers)
    }

    assert len(served) > 20
    assert documented == served


def test_every_fault_key_is_documented(service: Service):
    service.stage({"status": 500}, {"latency": 1})
    rules = [{**rule.pop("match"), "match": {}, **rule} for rule in service.control("GET", "faults")]
    tally = {"hits", "remaining"}
    _, _, table = DOCUMENT.partition("| Key | Default | Meaning |\n|---|---|---|\n")
    rows = [row.split(" | ") for row in table.partition("\n\n")[0].splitlines()]

    assert {name.strip("| `") for name, _, _ in rows} == rules[0].keys() - tally
    assert all(f"`{name}`" in DOCUMENT for name in tally)
    for cell, default, _ in rows:
        if default.startswith("`"):
            name, value = cell.strip("| `"), json.loads(default.strip("`"))
            assert any(value == rule[name] for rule in rules), name


def test_every_preset_is_documented(service: Service):
    assert names_in_rows("Presets") == [preset["name"] for preset in service.control("GET", "presets")]


def test_every_option_is_documented():
    for option in re.findall(r'"(--[a-z-]+)"', (SOURCE / "options.py").read_text("utf-8")):
        assert re.search(rf"^\| .*`{option}\b.* \|", DOCUMENT, re.MULTILINE), option


@pytest.mark.parametrize("rules", RECIPES, ids=range(len(RECIPES)))
def test_recipes_are_taken(service: Service, rules):
    service.stage(*(rules if isinstance(rules, list) else [rules]))


def test_every_third_call_fails(service: Service):
    assert service.token
    (rules,) = [rules for rules in RECIPES if str(rules).count("skip") == 3]
    service.stage(*rules)

    codes = [service.search(customerOrderId="a").status_code for _ in range(12)]

    assert codes == [204, 204, 503] * 3 + [204] * 3


def test_tokens_are_revoked_in_mid_run(service: Service):
    assert service.token
    (rules,) = [rules for rules in RECIPES if "revokeTokens" in str(rules)]
    service.stage(*rules)

    codes = [service.search(customerOrderId="a").status_code for _ in range(12)]

    assert codes == [204] * 10 + [403] * 2
    service.reset()
    assert service.search(customerOrderId="a").status_code == 204


@pytest.mark.slow
@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_snippets_run(snippet):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", snippet],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
