"""The Celery app of worker processes that tests start: a real broker, a real beat.

A process that comes to build the order whose number is in BRONTO_TEST_POISON dies of it, and leaves a line in the file
BRONTO_TEST_DEATHS.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import celery
from celery.signals import worker_process_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

app = celery.Celery("tests")
app.conf.update(
    broker_url=os.environ.get("BRONTO_TEST_BROKER", "memory://"),
    broker_connection_retry_on_startup=True,
    task_default_queue=os.environ.get("BRONTO_TEST_QUEUE", "celery"),
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_lost_wait=1.0,
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


@worker_process_init.connect
def take_poison(**kwargs: Any) -> None:
    poison, deaths = os.environ.get("BRONTO_TEST_POISON"), os.environ.get("BRONTO_TEST_DEATHS")
    if not poison or not deaths:
        return

    from bronto_orders.delivery import preparing

    build = preparing.build_document

    def die_of_poison(order: Any, *args: Any, **kwargs: Any) -> Any:
        if order.customer_order_id == poison:
            with Path(deaths).open("a") as file:
                file.write(f"{order.crashes}\n")
            os._exit(9)
        return build(order, *args, **kwargs)

    preparing.build_document = die_of_poison
