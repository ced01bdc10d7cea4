"""What a request pays that nobody asks for tracking in, beside other middleware."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.http import HttpRequest, HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.http import ConditionalGetMiddleware
from django.middleware.security import SecurityMiddleware
from django.test import RequestFactory

from benchmarks.measure import Effort, Figure, ratios

REQUESTS = 20_000
#: In so many blocks the sides take turns within a run.
BLOCKS = 10
#: Of Django's own middleware that acts on each request, this one costs the least.
LIGHTEST = "Django's XFrameOptionsMiddleware"
OURS = "TrackingMiddleware"


def _empty(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    return middleware


def _with_session(handler: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    def handle(request: HttpRequest) -> Any:
        request.session = None  # type: ignore[assignment]
        return handler(request)

    return handle


def _view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def _microseconds(handler: Callable[[HttpRequest], Any], count: int) -> float:
    # New requests each time: one that has been through a middleware is not what it was.
    requests = [RequestFactory().get("/") for _ in range(count)]
    started = time.perf_counter()
    for request in requests:
        handler(request)
    return (time.perf_counter() - started) / count * 1e6


def run(effort: Effort) -> Iterator[Figure]:
    """Time the same request through each, in turns; count the queries of ours."""
    from bronto_orders.middleware import TrackingMiddleware

    sides: dict[str, Callable[[HttpRequest], Any]] = {
        "an empty one": _empty(_view),
        LIGHTEST: XFrameOptionsMiddleware(_view),
        "Django's AuthenticationMiddleware": _with_session(AuthenticationMiddleware(_view)),
        "Django's ConditionalGetMiddleware": ConditionalGetMiddleware(_view),
        "Django's SecurityMiddleware": SecurityMiddleware(_view),
        OURS: TrackingMiddleware(_view),
    }
    times: dict[str, list[float]] = {side: [] for side in sides}
    bare = []
    count = effort.orders(REQUESTS) // BLOCKS
    for _ in range(effort.runs):
        blocks: dict[str, list[float]] = {side: [] for side in sides}
        views = []
        for _block in range(BLOCKS):
            views.append(_microseconds(_view, count))
            for side, handler in sides.items():
                blocks[side].append(_microseconds(handler, count))
        bare.append(statistics.median(views))
        for side, values in blocks.items():
            times[side].append(statistics.median(values))
    added = {
        side: [value - without for value, without in zip(values, bare, strict=True)] for side, values in times.items()
    }
    for side, values in added.items():
        yield Figure(benchmark="middleware", what=f"added to a request by {side}", values=values, unit="µs")
    yield Figure(
        benchmark="middleware",
        what=f"{OURS} beside {LIGHTEST}",
        values=ratios(added[OURS], added[LIGHTEST]),
        unit="times",
        at_most=2,
    )
    yield Figure(
        benchmark="middleware",
        what="queries of a request through TrackingMiddleware",
        values=[_queries(sides[OURS])],
        unit="",
        at_most=0,
        exact=True,
    )


def _queries(handler: Callable[[HttpRequest], Any]) -> int:
    from django.db import connections

    count = 0

    def wrapper(execute: Any, *args: Any) -> Any:
        nonlocal count
        count += 1
        return execute(*args)

    with connections["default"].execute_wrapper(wrapper):
        handler(RequestFactory().get("/"))
    return count
