"""For the type checker alone."""

from __future__ import annotations

from tests.settings import *  # noqa: F403
