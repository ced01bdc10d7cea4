"""The test project under an admin theme, which BRONTO_TEST_THEME names; without it, under Django's own."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

if theme := os.environ.get("BRONTO_TEST_THEME"):
    INSTALLED_APPS = [theme, *INSTALLED_APPS]
DEBUG = True
ROOT_URLCONF = "tests.e2e.theme_urls"
