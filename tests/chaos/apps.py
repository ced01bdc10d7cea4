"""Shortens the times that no setting changes, in the same proportion to their defaults as the settings."""

from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings


class ChaosConfig(AppConfig):
    name = "tests.chaos"

    def ready(self) -> None:
        from bronto_orders.delivery import engine, gate, hints, policy

        # An account that stays held for a minute would spend the campaign in peace.
        gate.FIRST_HOLD = 0.5
        gate.LONGEST_HOLD = gate.REFUSED_HOLD = settings.LONGEST_HOLD_SECONDS
        policy.UNSURE_ADD_SECONDS = 1.0
        hints.REST_SECONDS = 1.0
        engine.TASK_SECONDS = 5.0
