"""Whose address a request comes from: what counts as an address, and which one to believe behind proxies.

Knows nothing of Django's settings, so that settings may import it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.http import HttpRequest

#: As some proxies write an address: IPv4 with a port, IPv6 in brackets, with a port or without.
_WITH_PORT = re.compile(r"(?:(?P<v4>[0-9.]+):|\[(?P<v6>[^\[\]]+)\](?::|$))[0-9]{0,5}")


def parse(text: object) -> str | None:
    """Return an address in its canonical form: without port and zone, as IPv4 where IPv6 only wraps it.

    None for whatever is no address. Never raises.
    """
    plain = str(text).strip()
    if found := _WITH_PORT.fullmatch(plain):
        plain = found["v4"] or found["v6"]
    try:
        address = ip_address(plain.partition("%")[0])
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)


def behind(proxies: int, header: str = "X-Forwarded-For") -> Callable[[HttpRequest], str | None]:
    """Make a CLIENT_IP hook for a shop that is reached through exactly so many proxies of its own.

    Each of them must append the address that it was called from, as proxies do. So the outermost one's entry is that
    many from the end, and whatever a client has written itself stands before it and is never looked at. None when
    there are fewer entries: the request has not come through all the proxies.
    """
    if type(proxies) is not int or proxies < 1:
        raise ValueError("A number of proxies from 1 on is needed; without any, leave CLIENT_IP as it is.")
    key = f"HTTP_{header.upper().replace('-', '_')}"

    def client_ip(request: HttpRequest) -> str | None:
        entries = request.META.get(key, "").split(",")
        return parse(entries[-proxies]) if len(entries) >= proxies else None

    return client_ip
