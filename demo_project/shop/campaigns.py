"""The e-mails in the demo's inbox, and the tracking IDs in their links.

A tracking ID has 15 parts: version, numbers that name site, contact, delivery and message, some letters, two times and
what looks like a check sum.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from zlib import crc32

SITE = 32910
CONTACT = 65537


@dataclass(frozen=True, kw_only=True)
class Campaign:
    slug: str
    subject: str
    text: str
    button: str
    #: Slug of the product that the link leads to.
    product: str
    number: int
    #: How long before now it was sent.
    age: timedelta

    def sent_at(self, now: datetime) -> datetime:
        return now - self.age

    def tid(self, now: datetime) -> str:
        """Return the tracking ID of a click at ``now``."""
        sent = int(self.sent_at(now).timestamp())
        numbers = [_number(part) for part in (SITE, CONTACT, self.number, self.number + 7)]
        parts = ["3", *numbers, "", "Ag", "t", "", "", "", "b", _bits(sent), _bits(int(now.timestamp()))]
        return ".".join([*parts, _bits(crc32(".".join(parts).encode()))])


def _number(value: int) -> str:
    return _encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _bits(value: int) -> str:
    return _encode(value.to_bytes(4, "big"))


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


CAMPAIGNS = [
    Campaign(
        slug="new-in",
        subject="New in: the mug with the long neck",
        text="It holds a pint, it looks out over your breakfast, and it has waited for you for 150 million years.",
        button="Meet the Bronto mug",
        product="bronto-mug",
        number=1042,
        age=timedelta(minutes=25),
    ),
    Campaign(
        slug="dig-in",
        subject="A rainy weekend? Dig in",
        text="Plaster, brush, chisel, and somewhere in there a trilobite. Recommended from 8 to 88 years of age.",
        button="See the dig kit",
        product="fossil-dig-kit",
        number=1037,
        age=timedelta(days=2, hours=3),
    ),
]
