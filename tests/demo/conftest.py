from __future__ import annotations

import os

# Those tests need the demo's own settings, and a process has one settings module: test_project.py starts another.
collect_ignore = [] if os.environ.get("DJANGO_SETTINGS_MODULE") == "demo_project.settings" else ["inside"]
