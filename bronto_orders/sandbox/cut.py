"""How a view asks the server to cut the connection it answers on."""

from __future__ import annotations

from typing import Literal

from django.http import HttpRequest

#: The entry of the WSGI environment through which the request is made.
CUT_KEY = "bronto_sandbox.cut"

Cut = Literal["drop", "truncate"]


def ask_cut(request: HttpRequest, cut: Cut) -> None:
    """Have the connection closed without an answer, or in the middle of it.

    A server other than the sandbox's own does not know of this and sends the answer as it is.
    """
    request.META[CUT_KEY] = cut
