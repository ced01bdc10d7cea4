"""How the application asks the server to spoil an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

#: The entry of the WSGI environment that holds the ``Cut``. A server other than the sandbox's own knows nothing of it
#: and sends the answer as it is.
CUT_KEY: Final = "bronto_sandbox.cut"


@dataclass(frozen=True, slots=True)
class Cut:
    """What is to become of one answer."""

    #: ``drop`` closes the connection without one byte, ``reset`` breaks it off (RST) without one byte, ``truncate``
    #: closes it after the head and half of the body.
    end: Literal["drop", "reset", "truncate"] | None = None
    #: The time over which the body is spread, in small pieces.
    drip_seconds: float = 0.0
