"""Orders in their thousands, while everything around them breaks. ``make chaos`` plays the same without pytest."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from tests.chaos.__main__ import ORDERS
from tests.chaos.stage import COMBINATIONS, Combination

pytestmark = pytest.mark.chaos

#: Seconds after which a campaign that neither ends nor fails is given up.
LIMIT = 600


@pytest.mark.timeout(LIMIT + 60)
@pytest.mark.parametrize("combination", COMBINATIONS.values(), ids=list(COMBINATIONS))
def test_campaign(combination: Combination, capsys: pytest.CaptureFixture[str]) -> None:
    if missing := combination.missing():
        (pytest.fail if os.environ.get("BRONTO_TEST_REQUIRE_SERVICES") else pytest.skip)(f"needs {', '.join(missing)}")
    orders = os.environ.get("BRONTO_CHAOS_ORDERS") or str(ORDERS)
    seed = os.environ.get("BRONTO_CHAOS_SEED") or str(random.randrange(10**6))
    command = [sys.executable, "-m", "tests.chaos", combination.name, "--orders", orders, "--seed", seed]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as campaign:
        try:
            output, _ = campaign.communicate(timeout=LIMIT)
        finally:
            # Not killed: it has servers and workers to end.
            campaign.terminate()
    with capsys.disabled():
        sys.stdout.write(f"\n{output}")  # the seed must be seen also when all is well
    assert campaign.returncode == 0, output
