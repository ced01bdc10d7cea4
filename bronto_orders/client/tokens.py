"""Access tokens, and where they are kept so that many workers share one."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from bronto_orders.client.patience import PatientCache
from bronto_orders.client.redaction import Secret
from bronto_orders.per_process import PerProcess

#: Life of a refresh token in seconds (S0, C:m26).
REFRESH_TOKEN_SECONDS: Final = 30 * 24 * 3600
_LONGEST_LEEWAY: Final = 60.0


@dataclass(frozen=True, slots=True)
class Token:
    """An access token with what belongs to it."""

    access: str = field(repr=False)
    refresh: str | None = field(repr=False)
    #: A later token has a greater one. Safe to log.
    generation: int
    #: Seconds that it was given for, counted from before it was asked for.
    lifetime: float

    @property
    def leeway(self) -> float:
        """Seconds before its end at which it is renewed: 60, or a fifth of a life shorter than five minutes."""
        return min(_LONGEST_LEEWAY, self.lifetime / 5)


def store_key(token_url: str, client_id: str, client_secret: str) -> str:
    """Return the name under which the tokens of these credentials are stored.

    It is a hash, one way, so it tells nothing of them. The secret is part of it: a changed secret starts afresh.
    """
    text = "\0".join((token_url, client_id, client_secret))
    return "bronto_orders.token." + hashlib.sha256(text.encode()).hexdigest()[:40]


class TokenStore(Protocol):
    """Where tokens are kept, under a key for each set of credentials. Implementations never raise.

    A store that is out of order behaves as an empty one whose lock is free: then each process gets its own token.
    """

    def load(self, key: str) -> Token | None:
        """Return the token if it is still good: not yet within its leeway. Its ``refresh`` may be None."""

    def refresh_token(self, key: str) -> str | None:
        """Return the refresh token, also when the access token has run out."""

    def save(self, key: str, token: Token) -> None:
        """Keep the token until its leeway begins, and its refresh token for 30 days."""

    def acquire(self, key: str, seconds: float) -> bool:
        """Take the right to ask for a token; False while another has it. It lapses after ``seconds``."""

    def release(self, key: str) -> None:
        """Give that right back."""


class _Shelf:
    """What a MemoryTokenStore holds in one process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.tokens: dict[str, tuple[Token, float]] = {}
        self.holders: dict[str, float] = {}


class MemoryTokenStore:
    """Keeps tokens in the memory of this process; clients in it may share one."""

    def __init__(self) -> None:
        self._shelves = PerProcess(_Shelf)

    def load(self, key: str) -> Token | None:
        token, good_until = self._shelves.get().tokens.get(key, (None, 0.0))
        return token if time.monotonic() < good_until else None

    def refresh_token(self, key: str) -> str | None:
        token, _ = self._shelves.get().tokens.get(key, (None, 0.0))
        return token.refresh if token else None

    def save(self, key: str, token: Token) -> None:
        self._shelves.get().tokens[key] = token, time.monotonic() + token.lifetime - token.leeway

    def acquire(self, key: str, seconds: float) -> bool:
        shelf, now = self._shelves.get(), time.monotonic()
        with shelf.lock:
            if now < shelf.holders.get(key, 0.0):
                return False
            shelf.holders[key] = now + seconds
            return True

    def release(self, key: str) -> None:
        self._shelves.get().holders.pop(key, None)


class CacheTokenStore(PatientCache):
    """Keeps tokens in one of Django's caches, so that the workers of all machines share one token.

    The cache must be shared by the workers and as well guarded as the database: it holds tokens that open the
    account. A cache that fails, or takes longer than ``patience`` seconds, is left alone for 30 seconds.
    """

    complaint = "The cache %r keeps no access tokens now: %s"

    def __init__(self, cache_alias: str = "default", *, patience: float = 1.0) -> None:
        super().__init__(cache_alias, patience=patience)
        self._marks: dict[str, str] = {}

    def load(self, key: str) -> Token | None:
        nothing: dict[str, object] = {}
        stored = self.use(lambda cache: cache.get_many([f"{key}.access", f"{key}.refresh"]), otherwise=nothing)
        return _token_from(stored.get(f"{key}.access"), stored.get(f"{key}.refresh"))

    def refresh_token(self, key: str) -> str | None:
        refresh = self.use(lambda cache: cache.get(f"{key}.refresh"), otherwise=None)
        return Secret(refresh) if isinstance(refresh, str) else None

    def save(self, key: str, token: Token) -> None:
        def write(cache: Any) -> None:
            # Cut to whole seconds here because some backends do, and one reads what is left, 0, as "for ever".
            good_for = int(token.lifetime - token.leeway)
            if good_for > 0:
                # Plain strings: whatever the cache pickles must not need this package to be read.
                access = {"access": str(token.access), "generation": token.generation, "lifetime": token.lifetime}
                cache.set(f"{key}.access", access, good_for)
            if token.refresh:
                cache.set(f"{key}.refresh", str(token.refresh), REFRESH_TOKEN_SECONDS)
            else:
                cache.delete(f"{key}.refresh")

        self.use(write, otherwise=None)

    def acquire(self, key: str, seconds: float) -> bool:
        mark = secrets.token_hex(8)
        taken = self.use(lambda cache: bool(cache.add(f"{key}.lock", mark, max(int(seconds), 1))), otherwise=True)
        if taken:
            self._marks[key] = mark
        return taken

    def release(self, key: str) -> None:
        mark = self._marks.pop(key, None)

        def give_back(cache: Any) -> None:
            # Not the lock of another who took it when ours had lapsed.
            if cache.get(f"{key}.lock") == mark:
                cache.delete(f"{key}.lock")

        self.use(give_back, otherwise=None)


def _token_from(access: object, refresh: object) -> Token | None:
    """Return the token that a cache entry describes, None for anything else that may stand there."""
    match access:
        case {"access": str(text), "generation": int(generation), "lifetime": int() | float() as lifetime}:
            kept = Secret(refresh) if isinstance(refresh, str) else None
            return Token(Secret(text), kept, generation, lifetime)
    return None
