"""Mirror a Django shop's orders to the Bronto Orders REST API."""

from __future__ import annotations

__version__ = "0.1.0"
