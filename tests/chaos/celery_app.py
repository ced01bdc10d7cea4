"""The Celery app of a campaign's shop and workers, set up as the documents advise."""

from __future__ import annotations

import os

import celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.chaos.settings")

from tests.chaos.settings import PLACE

if PLACE["broker"].startswith("folder:"):
    import demo_project.broker  # noqa: F401 - makes the scheme known

app = celery.Celery("chaos")
app.conf.update(
    broker_url=PLACE["broker"],
    broker_transport_options=PLACE["transport_options"],
    broker_connection_timeout=1,
    broker_connection_retry_on_startup=True,
    # The defaults give up for good after a hundred tries.
    broker_connection_max_retries=None,
    task_publish_retry=False,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    # A folder cannot broadcast to workers.
    worker_enable_remote_control=not PLACE["broker"].startswith("folder:"),
    beat_schedule={"sweep": {"task": "bronto_orders.sweep", "schedule": 1.0, "options": {"expires": 5}}},
)
app.autodiscover_tasks(["bronto_orders"])
