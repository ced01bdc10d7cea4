"""Bronto's OAuth2 client-credentials flow (S1, S2, C:m26) as an authentication object for requests.

The order of events when a token is needed: this process's copy; else one thread asks the store; else, under the
store's lock, the token endpoint, with the refresh grant first. All others wait for that one. An answer of 403 (401
is treated alike; Bronto's documents know 403 only, H:auth) makes that token's generation refused: it is renewed
once, by whoever comes first, and the request is repeated; twice, if the newer token was one that another process got.
"""

from __future__ import annotations

import functools
import logging
import re
import threading
import time
from typing import Any, Final
from urllib.parse import urlencode

import requests
from requests.auth import AuthBase

from bronto_orders import __version__, wire
from bronto_orders.client.deadline import Deadline, running_call
from bronto_orders.client.redaction import REDACTED, Secret
from bronto_orders.client.tokens import MemoryTokenStore, Token, TokenStore, store_key
from bronto_orders.client.transport import Answer, Transport, build_request, read_refusal
from bronto_orders.exceptions import TokenError, TokenRefusedError, TokenUnavailableError, TransportError
from bronto_orders.per_process import PerProcess

logger = logging.getLogger(__name__)

#: Statuses by which the Orders API refuses an access token.
TOKEN_REFUSALS: Final = frozenset({401, 403})
#: Statuses by which the token endpoint refuses the credentials (RFC 6749; Bronto's own are undocumented).
CREDENTIAL_REFUSALS: Final = frozenset({400, 401, 403})

_DEFAULT_LIFETIME: Final = 3600.0
_LOCK_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.075
# How long this process trusts its copy before it looks whether another one has stored a newer token.
_COPY_SECONDS: Final = 30.0
_RETRY_SECONDS: Final = 5.0
# A token that was got because its predecessor was refused, and is refused before it was ever accepted, will not get
# better by renewing it: a scope is lacking.
_NEW_SECONDS: Final = 30.0
# Of a refused request: with what another process got, and with what this one gets after that.
_REPEATS: Final = 2
_HEADERS: Final = {
    "User-Agent": f"bronto-orders/{__version__}",
    "Accept": "application/json",
    "Content-Type": "application/x-www-form-urlencoded",
}


class _Held:
    """A token as this process holds it. Times are by the monotonic clock."""

    def __init__(self, token: Token, *, asked_at: float, own: bool, replaces_refused: bool = False) -> None:
        self.token = token
        self.header = Secret(f"Bearer {token.access}")
        #: Whether this process got it from the endpoint, and so knows its age.
        self.own = own
        self.asked_at = asked_at
        self.accepted = False
        self.replaces_refused = replaces_refused
        # The store lets go of a token when its leeway begins, so one just found there lives that long at least.
        self.renew_at = asked_at + (token.lifetime - token.leeway if own else token.leeway / 2)
        self.ends_at = asked_at + token.lifetime
        self.use_until = 0.0
        self.trust()

    def trust(self, seconds: float = _COPY_SECONDS) -> None:
        """Use it without a further look at the store for that long."""
        self.use_until = min(time.monotonic() + seconds, self.renew_at)

    def postpone_renewal(self) -> None:
        self.use_until = min(time.monotonic() + _RETRY_SECONDS, self.ends_at)


class _State:
    """What one process knows."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.held: _Held | None = None
        self.failure: tuple[float, type[TokenError], str] | None = None

    def newer_than(self, refused: _Held | None) -> _Held | None:
        held = self.held
        if held is None or (refused is not None and held.token.generation <= refused.token.generation):
            return None
        return held

    def raise_failure_since(self, began: float) -> None:
        """Let those who waited while another thread failed fail with it, instead of asking one after the other."""
        if self.failure is not None and self.failure[0] >= began:
            _, kind, text = self.failure
            raise kind(text)


class ClientCredentials(AuthBase):
    """Puts a bearer token on each request and renews it in time, or when it is refused.

    One object serves any number of threads, over forks too. Raises TokenRefusedError when the endpoint refuses the
    credentials and TokenUnavailableError when it gives no token for another reason; the request was then not sent,
    or had been refused with 403 before. The token endpoint's time is part of the deadline of the call under way.
    """

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        *,
        token_url: str,
        transport: Transport,
        store: TokenStore | None = None,
    ) -> None:
        self._client_id = client_id
        self._client_secret = Secret(client_secret)
        self._token_url = token_url
        self._transport = transport
        self._store = MemoryTokenStore() if store is None else store
        self._key = store_key(token_url, client_id, client_secret)
        self._states = PerProcess(_State)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        held = self._current(None)
        request.headers["Authorization"] = held.header
        request.register_hook("response", functools.partial(self._answered, held))
        return request

    def scrub(self, text: str) -> str:
        """Return the text without the client secret and the tokens held now, should a server quote them."""
        held = self._states.get().held
        known = [self._client_secret, *((held.token.access, held.token.refresh) if held else ())]
        for secret in filter(None, known):
            text = text.replace(secret, REDACTED)
        return text

    def _answered(self, held: _Held, response: requests.Response, **send_options: Any) -> requests.Response:
        """Repeat a request whose token was refused with a newer one: one that another process got, or a new one.

        What another process got may have been revoked as well, so that only the refusal of a token that this one got
        in place of a refused one says that the account may not do this.
        """
        for _ in range(_REPEATS):
            if response.status_code not in TOKEN_REFUSALS or self._is_final(held):
                break
            # The connection goes back to the pool first: the token request may need it.
            read_refusal(response)
            response.close()
            held = self._current(held)
            request = response.request.copy()
            request.headers["Authorization"] = held.header
            response = response.connection.send(request, **send_options)
        held.accepted = held.accepted or response.status_code not in TOKEN_REFUSALS
        return response

    @staticmethod
    def _is_final(held: _Held) -> bool:
        in_vain = held.replaces_refused and not held.accepted
        return in_vain and time.monotonic() - held.asked_at < _NEW_SECONDS

    def _current(self, refused: _Held | None) -> _Held:
        """Return a token to use; if one was refused, a newer one than that."""
        state = self._states.get()
        held = state.newer_than(refused)
        if held is not None and time.monotonic() < held.use_until:
            return held
        call = running_call()
        deadline = call.deadline if call else Deadline(self._transport.total_timeout)
        spare = held if held is not None and time.monotonic() < held.ends_at else None
        began = time.monotonic()
        # A thread that can go on with the old token leaves the renewal to the one that is at it.
        if not state.lock.acquire(timeout=0 if spare else max(deadline.left(), 0)):
            if spare:
                return spare
            raise TokenUnavailableError("No access token in time: another thread is still asking for one")
        try:
            held = state.newer_than(refused)
            if held is not None and time.monotonic() < held.use_until:
                return held
            state.raise_failure_since(began)
            return self._renew(state, refused, deadline)
        finally:
            state.lock.release()

    def _renew(self, state: _State, refused: _Held | None, deadline: Deadline) -> _Held:
        held = state.newer_than(refused)
        newer = self._newer_in_store(state, refused)
        if newer is not None:
            return newer
        if held is not None and held.own and time.monotonic() < held.renew_at:
            held.trust()
            return held
        failure: TokenError
        try:
            return self._ask_alone(state, refused, deadline)
        except TokenUnavailableError as error:
            failure = error
            if held is not None and time.monotonic() < held.ends_at:
                logger.warning("The access token could not be renewed yet; the old one serves on: %s", failure)
                held.postpone_renewal()
                return held
        except TokenRefusedError as error:
            failure = error
        state.failure = (time.monotonic(), type(failure), str(failure))
        raise failure

    def _newer_in_store(self, state: _State, refused: _Held | None) -> _Held | None:
        """Take over the stored token, unless it is refused, older than ours, or the very one that we asked for."""
        asked_at = time.monotonic()
        token = self._store.load(self._key)
        if token is None or (refused is not None and token.generation <= refused.token.generation):
            return None
        held = state.held
        if held is not None and token.generation <= held.token.generation and (held.own or token != held.token):
            return None
        state.held = _Held(token, asked_at=asked_at, own=False)
        return state.held

    def _ask_alone(self, state: _State, refused: _Held | None, deadline: Deadline) -> _Held:
        """Ask the endpoint while no other process does, or take over what that other process got."""
        # Half of what is left: a process that died with the lock in its hands must leave us time to ask ourselves.
        patience = Deadline(min(_LOCK_SECONDS, deadline.left() / 2))
        locked = self._store.acquire(self._key, _LOCK_SECONDS)
        try:
            while (newer := self._newer_in_store(state, refused)) is None and not locked and patience.left() > 0:
                time.sleep(_POLL_SECONDS)
                locked = self._store.acquire(self._key, _LOCK_SECONDS)
            return newer or self._ask(state, refused, deadline)
        finally:
            if locked:
                self._store.release(self._key)

    def _ask(self, state: _State, refused: _Held | None, deadline: Deadline) -> _Held:
        """Get a token by the refresh grant; by client credentials when no refresh token is known or it is refused."""
        asked_at = time.monotonic()
        grant, answer = "refresh_token", None
        refresh = self._refresh_token(state)
        if refresh:
            answer = self._post(self._form(grant, refresh_token=refresh), deadline)
        if answer is None or answer.status in CREDENTIAL_REFUSALS:
            grant, asked_at = "client_credentials", time.monotonic()
            answer = self._post(self._form(grant), deadline)
        if answer.status in CREDENTIAL_REFUSALS:
            raise TokenRefusedError(_refusal_text(answer))
        token = token_in(answer, generation=self._next_generation(state))
        if token is None:
            raise TokenUnavailableError(f"The token endpoint's answer holds no usable token (HTTP {answer.status})")
        self._store.save(self._key, token)
        state.held = _Held(token, asked_at=asked_at, own=True, replaces_refused=refused is not None)
        logger.info("New access token: generation %d, %s grant, for %.0f s", token.generation, grant, token.lifetime)
        return state.held

    def _refresh_token(self, state: _State) -> str | None:
        stored = self._store.refresh_token(self._key)
        return stored or (state.held.token.refresh if state.held else None)

    def _next_generation(self, state: _State) -> int:
        # Whole seconds since 1970 keep generations rising also for a process that does not know the last one.
        last = state.held.token.generation if state.held else 0
        return max(last + 1, int(time.time()))

    def _form(self, grant: str, **fields: str) -> Secret:
        form = {"grant_type": grant, **fields, "client_id": self._client_id, "client_secret": self._client_secret}
        return Secret(urlencode(form))

    def _post(self, form: Secret, deadline: Deadline) -> Answer:
        try:
            return self._transport.send(build_request("POST", self._token_url, _HEADERS, form), deadline=deadline)
        except TransportError as error:
            failure = str(error)
        raise TokenUnavailableError(f"The token endpoint gave no answer: {failure}")


def token_in(answer: Answer, *, generation: int) -> Token | None:
    """Return the token that an answer of the token endpoint holds, None when it holds none that can be used.

    Only a 200 does (S1, S2). A missing or senseless ``expires_in`` counts as 3600 seconds.
    """
    if answer.status != 200:
        return None
    try:
        body = wire.loads(answer.body)
    except (ValueError, ArithmeticError, RecursionError):
        return None
    if not isinstance(body, dict) or not _is_token(body.get("access_token")):
        return None
    refresh = body.get("refresh_token")
    return Token(
        access=Secret(body["access_token"]),
        refresh=Secret(refresh) if _is_token(refresh) else None,
        generation=generation,
        lifetime=_lifetime(body.get("expires_in")),
    )


def _is_token(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[!-~]{1,4096}", value) is not None


def _lifetime(value: object) -> float:
    try:
        seconds = float(str(value))
    except ValueError:
        return _DEFAULT_LIFETIME
    return seconds if 0 < seconds <= 365 * 24 * 3600 else _DEFAULT_LIFETIME


def _refusal_text(answer: Answer) -> str:
    """Name status and RFC 6749 error code: the rest of such an answer may quote what was sent."""
    code = re.search(rb'"error"\s{0,8}:\s{0,8}"([a-z_]{1,40})"', answer.body)
    detail = f", {code[1].decode()}" if code else ""
    return f"The token endpoint refused the client ID or secret (HTTP {answer.status}{detail})"
