"""The Celery app of the shop and the workers that are measured, set up as the documents advise."""

from __future__ import annotations

import os

import celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")

from benchmarks.settings import CELERY_BROKER, NAME

app = celery.Celery("benchmarks")
app.conf.update(
    broker_url=CELERY_BROKER,
    broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 0.5, "max_retries": 1},
    broker_connection_retry_on_startup=True,
    task_publish_retry=False,
    task_ignore_result=True,
    # A queue of its own: what another run leaves in the broker is not ours.
    task_default_queue=NAME,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
)
app.autodiscover_tasks(["bronto_orders"])
app.autodiscover_tasks(["benchmarks"], related_name="plain")
