"""The test project under an admin theme, which BRONTO_TEST_THEME names; without it, under Django's own."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS, MIDDLEWARE

if theme := os.environ.get("BRONTO_TEST_THEME"):
    INSTALLED_APPS = [theme, *INSTALLED_APPS]
# Themes have scripts and styles within their pages.
MIDDLEWARE = [name for name in MIDDLEWARE if name != "tests.policy.StrictPolicy"]
DEBUG = True
ROOT_URLCONF = "tests.e2e.theme_urls"
