from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_project.settings")

app = Celery("demo_project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_ready.connect
@beat_init.connect
def announce(**kwargs: Any) -> None:
    """Tell whoever waits for this process that it works.

    A file, because a ping over the broker is answered only by brokers that can broadcast.
    """
    if ready_file := os.environ.get("DEMO_READY_FILE"):
        with open(ready_file, "w"):
            pass
