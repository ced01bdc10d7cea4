"""The Celery app of worker processes that tests start: a real broker, a real beat."""

from __future__ import annotations

import os
from pathlib import Path

import celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

app = celery.Celery("tests")
app.conf.update(
    broker_url=os.environ.get("BRONTO_TEST_BROKER", "memory://"),
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    beat_schedule={"sweep": {"task": "bronto_orders.sweep", "schedule": 1.0, "options": {"expires": 5}}},
)
if folder := os.environ.get("BRONTO_TEST_BROKER_FOLDER"):
    messages = str(Path(folder) / "messages")
    app.conf.broker_transport_options = {
        "data_folder_in": messages,
        "data_folder_out": messages,
        "control_folder": str(Path(folder) / "control"),
    }
app.autodiscover_tasks(["bronto_orders"])
