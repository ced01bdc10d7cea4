"""``include("bronto_orders.sandbox.urls")`` serves a sandbox below the path it is mounted at.

``BRONTO_ORDERS["SANDBOX"]`` has to allow it with ``"ENABLED": True``. ``"DATABASE"`` names an SQLite file to keep its
orders in; without it they are in the memory of the process, each process has its own, and a restart forgets them.
"""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.urls import re_path
from django.views.decorators.csrf import csrf_exempt

from bronto_orders.sandbox.messages import Answer, Request
from bronto_orders.sandbox.service import shared_service
from bronto_orders.sandbox.store import IN_MEMORY
from bronto_orders.sandbox.wsgi import raw_path

app_name = "bronto_sandbox"


@csrf_exempt
@transaction.non_atomic_requests
def serve(request: HttpRequest, path: str) -> HttpResponse:
    """Answer any call of the sandbox."""
    options = getattr(settings, "BRONTO_ORDERS", {}).get("SANDBOX", {})
    if options.get("ENABLED"):
        answer = shared_service(str(options.get("DATABASE") or IN_MEMORY)).answer(_read_request(request, path))
    else:
        answer = Answer.error(404, 'the sandbox is off; BRONTO_ORDERS["SANDBOX"]["ENABLED"] = True turns it on')
    # Only the sandbox's own server can spoil an answer on its way; here it arrives whole.
    response = HttpResponse(answer.body, status=answer.status)
    del response["Content-Type"]
    for name, value in answer.headers.items():
        response[name] = value
    return response


def _read_request(request: HttpRequest, path: str) -> Request:
    mount = request.path[: len(request.path) - len(path)]
    try:
        body: bytes | None = request.body
    except RequestDataTooBig:
        body = None
    except UnreadablePostError:
        body = b""
    return Request(
        method=request.method or "",
        path=raw_path(request.META, mount.rstrip("/"), path),
        query=request.META.get("QUERY_STRING", ""),
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body,
        remote_address=request.META.get("REMOTE_ADDR", ""),
        base_url=f"{request.scheme}://{request.META.get('HTTP_HOST', '')}{mount.rstrip('/')}",
    )


urlpatterns = [
    re_path(r"^(?P<path>(?:oauth2/token|orders|_sandbox)(?:/[\s\S]*)?)\Z", serve, name="sandbox"),
]
