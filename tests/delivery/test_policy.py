from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from bronto_orders import exceptions as errors
from bronto_orders.conf import DeliverySettings
from bronto_orders.delivery import policy
from bronto_orders.delivery.policy import Blame, Exchange, Operation, Outcome, Standing, decide
from bronto_orders.models import Presence, SyncState

SETTINGS = DeliverySettings()
ADD = Exchange(operation=Operation.ADD, presence=Presence.ABSENT, attempts=1, flips=0, contact_may_lack=False)
UPDATE = replace(ADD, operation=Operation.UPDATE, presence=Presence.PRESENT)
UNSURE = replace(UPDATE, presence=Presence.UNSURE)


def after(
    exchange: Exchange, error: errors.BrontoError | None, *, healthy: bool = True, **known: Any
) -> policy.Decision:
    return decide(replace(exchange, error=error, **known), SETTINGS, healthy=healthy)


def bad(cls: type[errors.APIError], status: int, reason: str = "", retry_after: float | None = None) -> errors.APIError:
    return cls(status=status, reason=reason, retry_after=retry_after)


def leaves(cls: type) -> set[type]:
    return {cls}.union(*(leaves(sub) for sub in cls.__subclasses__()))


def test_every_error_has_a_rule() -> None:
    for cls in leaves(errors.BrontoError) - {
        errors.BrontoError,
        errors.TransportError,
        errors.TokenError,
        errors.APIError,
    }:
        assert any(base in policy.TABLE for base in cls.__mro__), cls


def test_success() -> None:
    decision = after(ADD, None)
    assert (decision.state, decision.presence, decision.standing) == (SyncState.SYNCED, Presence.PRESENT, Standing.WELL)


@pytest.mark.parametrize("status", [400, 413, 422, 418])
def test_refused_content_rejects_this_revision(status: int) -> None:
    decision = after(UPDATE, bad(errors.BadRequestError, status, "grandTotal is no number."))
    assert (decision.state, decision.reason) == (SyncState.REJECTED, "refused")
    assert "grandTotal is no number. " in decision.message
    assert decision.standing is Standing.WELL


@pytest.mark.parametrize("exchange", [ADD, UPDATE, UNSURE], ids=["add", "update", "unsure"])
@pytest.mark.parametrize(
    "error", [bad(errors.AuthenticationError, 403), bad(errors.AuthenticationError, 401), errors.TokenRefusedError()]
)
def test_refused_credentials_hold_the_account(exchange: Exchange, error: errors.BrontoError) -> None:
    decision = after(exchange, error)
    assert (decision.state, decision.standing, decision.counts) == (SyncState.PENDING, Standing.AUTH, False)
    assert decision.presence is None


def test_staff_read_the_services_words_or_none() -> None:
    told = "Bronto refuses the account's credentials"
    assert after(ADD, errors.TokenRefusedError()).message.startswith(f"{told};")
    assert after(ADD, bad(errors.AuthenticationError, 401)).message.startswith(f"{told} (HTTP 401);")
    assert after(ADD, bad(errors.AuthenticationError, 401, "Scope.")).message.startswith(f"{told} (Scope);")


class TestNotLetIn:
    @pytest.mark.parametrize("status", [401, 403])
    @pytest.mark.parametrize(
        ("blame", "outcome", "reason", "counts", "standing"),
        [
            (Blame.ACCOUNT, Outcome.HELD, "auth", False, Standing.AUTH),
            (Blame.UNCLEAR, Outcome.DEFERRED, "refused", False, Standing.DOUBTFUL),
            (Blame.ORDER, Outcome.DEFERRED, "refused", True, Standing.SILENT),
        ],
    )
    def test_by_blame(
        self, status: int, blame: Blame, outcome: str, reason: str, counts: bool, standing: Standing
    ) -> None:
        decision = after(UPDATE, bad(errors.AuthenticationError, status, "blocked."), blame=blame)
        assert (decision.state, decision.outcome, decision.reason) == (SyncState.PENDING, outcome, reason)
        assert (decision.counts, decision.standing, decision.presence) == (counts, standing, None)
        assert decision.delay >= policy.REFUSED_SECONDS
        assert "(blocked)" in decision.message

    @pytest.mark.parametrize("blame", Blame)
    def test_a_refusal_by_the_token_endpoint_is_the_accounts(self, blame: Blame) -> None:
        assert after(UPDATE, errors.TokenRefusedError(), blame=blame).standing is Standing.AUTH

    @pytest.mark.parametrize(
        ("blame", "healthy", "state"),
        [
            (Blame.ORDER, True, SyncState.REJECTED),
            (Blame.ORDER, False, SyncState.PENDING),
            (Blame.UNCLEAR, True, SyncState.PENDING),
            (Blame.ACCOUNT, True, SyncState.PENDING),
        ],
    )
    def test_is_given_up_only_if_it_alone_is_refused(self, blame: Blame, healthy: bool, state: SyncState) -> None:
        error = bad(errors.AuthenticationError, 403)
        decision = after(UPDATE, error, attempts=SETTINGS.max_attempts, blame=blame, healthy=healthy)
        assert decision.state is state
        assert decision.reason == ("poison" if state is SyncState.REJECTED else decision.reason)


@pytest.mark.parametrize("status", [407, 421, 425])
def test_trouble_on_the_way_holds_the_account(status: int) -> None:
    assert after(UPDATE, bad(errors.BadRequestError, status)).standing is Standing.CONFIGURATION


class TestNotFound:
    def test_unsure_add_never_landed(self) -> None:
        decision = after(UNSURE, bad(errors.NotFoundError, 404))
        assert (decision.state, decision.presence, decision.flip) == (SyncState.PENDING, Presence.ABSENT, False)
        assert (decision.counts, decision.delay) == (False, 0)

    def test_known_order_was_deleted_there(self) -> None:
        decision = after(UPDATE, bad(errors.NotFoundError, 404))
        assert (decision.state, decision.presence, decision.flip) == (SyncState.PENDING, Presence.ABSENT, True)

    def test_second_flip_means_a_return(self) -> None:
        decision = after(UPDATE, bad(errors.NotFoundError, 404), flips=1)
        assert (decision.state, decision.reason) == (SyncState.REJECTED, "id_taken")

    def test_on_an_add_it_is_the_wrong_address(self) -> None:
        decision = after(ADD, bad(errors.NotFoundError, 404))
        assert (decision.state, decision.standing) == (SyncState.PENDING, Standing.CONFIGURATION)


class TestConflict:
    def test_duplicate_on_add_is_updated(self) -> None:
        decision = after(ADD, bad(errors.DuplicateOrderError, 409))
        assert (decision.state, decision.presence, decision.counts) == (SyncState.PENDING, Presence.PRESENT, False)
        assert decision.outcome == Outcome.REDIRECTED

    @pytest.mark.parametrize("exchange", [ADD, UPDATE], ids=["add", "update"])
    def test_no_contact_is_skipped(self, exchange: Exchange) -> None:
        decision = after(exchange, bad(errors.UnknownContactError, 409))
        assert (decision.state, decision.reason) == (SyncState.SKIPPED, "no_contact")

    @pytest.mark.parametrize(
        ("found", "contact_may_lack", "state", "reason"),
        [
            (True, True, SyncState.PENDING, ""),
            (False, True, SyncState.SKIPPED, "no_contact"),
            (False, False, SyncState.REJECTED, "id_taken"),
            (None, True, SyncState.PENDING, "conflict"),
        ],
    )
    def test_unreadable_on_add(self, found: bool | None, contact_may_lack: bool, state: SyncState, reason: str) -> None:
        decision = after(ADD, bad(errors.ConflictError, 409), found=found, contact_may_lack=contact_may_lack)
        assert (decision.state, decision.reason) == (state, reason)

    @pytest.mark.parametrize("cls", [errors.ConflictError, errors.DuplicateOrderError])
    def test_on_update_it_can_only_be_the_contact(self, cls: type[errors.APIError]) -> None:
        assert after(UPDATE, bad(cls, 409), contact_may_lack=True).reason == "no_contact"
        assert after(UPDATE, bad(cls, 409), contact_may_lack=False).reason == "refused"


class TestTrouble:
    @pytest.mark.parametrize("status", [500, 503, 599])
    def test_server_errors_defer(self, status: int) -> None:
        decision = after(UPDATE, bad(errors.ServerError, status))
        assert (decision.state, decision.reason, decision.standing) == (
            SyncState.PENDING,
            "server_error",
            Standing.FAILING,
        )
        assert decision.delay > 0
        assert not decision.settle

    @pytest.mark.parametrize("status", [500, 503, 504])
    def test_retry_after_of_a_503_is_honoured(self, status: int) -> None:
        assert after(UPDATE, bad(errors.ServerError, status, retry_after=120)).delay >= 120

    @pytest.mark.parametrize("status", [408, 502, 503, 504, 521])
    def test_it_pauses_the_account(self, status: int) -> None:
        decision = after(UPDATE, bad(errors.ServerError, status, retry_after=120))
        assert (decision.standing, decision.counts) == (Standing.FAILING, True)
        assert 120 <= decision.retry_after <= 150
        assert f"A pause of {round(decision.retry_after)} seconds" in decision.message

    @pytest.mark.parametrize(("asked", "low", "high"), [(None, 0, 0), (0, 0, 0), (-3, 0, 0), (1e9, 3600, 4500)])
    def test_odd_pauses(self, asked: float | None, low: float, high: float) -> None:
        decision = after(UPDATE, bad(errors.ServerError, 503, retry_after=asked))
        assert low <= decision.retry_after <= high
        assert ("pause" in decision.message) == (high > 0)

    def test_one_order_that_fails_pauses_nobody(self) -> None:
        assert after(UPDATE, bad(errors.ServerError, 500, retry_after=120)).retry_after == 0

    @pytest.mark.parametrize("error", [errors.NotSentError(), errors.TokenUnavailableError()], ids=repr)
    def test_unreachable_does_not_count(self, error: errors.BrontoError) -> None:
        decision = after(ADD, error)
        assert (decision.state, decision.counts, decision.presence) == (SyncState.PENDING, False, None)
        assert decision.standing is Standing.FAILING

    @pytest.mark.parametrize(
        "error",
        [
            errors.FateUnknownError(),
            errors.DeadlineError(),
            errors.UnreadableAnswerError(),
            bad(errors.ServerError, 502),
            bad(errors.ServerError, 504),
            bad(errors.ServerError, 408),
            bad(errors.ServerError, 524),
            bad(errors.UnexpectedAnswerError, 202),
        ],
        ids=str,
    )
    def test_unknown_fate(self, error: errors.BrontoError) -> None:
        add, update = after(ADD, error), after(UPDATE, error)
        assert (add.state, add.presence, add.settle) == (SyncState.PENDING, Presence.UNSURE, False)
        assert add.delay >= policy.UNSURE_ADD_SECONDS
        assert (update.state, update.presence, update.settle) == (SyncState.PENDING, None, True)
        assert update.delay >= SETTINGS.settle_seconds

    def test_throttling_pauses_the_account(self) -> None:
        decision = after(UPDATE, bad(errors.RateLimitedError, 429, retry_after=10))
        assert (decision.standing, decision.counts) == (Standing.THROTTLED, False)
        assert 10 <= decision.retry_after <= 12.5

    @pytest.mark.parametrize(("asked", "low", "high"), [(None, 5, 6.25), (-3, 0, 0), (1e9, 3600, 4500)])
    def test_odd_retry_after(self, asked: float | None, low: float, high: float) -> None:
        assert low <= after(UPDATE, bad(errors.RateLimitedError, 429, retry_after=asked)).retry_after <= high

    @pytest.mark.parametrize("status", [301, 308, 101])
    def test_redirects_hold_the_account(self, status: int) -> None:
        decision = after(UPDATE, bad(errors.UnexpectedAnswerError, status))
        assert (decision.standing, decision.counts) == (Standing.CONFIGURATION, False)


class TestGivingUp:
    def test_poison_while_others_succeed(self) -> None:
        decision = after(UPDATE, bad(errors.ServerError, 500), attempts=8)
        assert (decision.state, decision.reason) == (SyncState.REJECTED, "poison")

    @pytest.mark.parametrize("error", [bad(errors.ServerError, 503), errors.DeadlineError()], ids=str)
    def test_never_for_what_says_nothing_of_the_order(self, error: errors.BrontoError) -> None:
        decision = after(UPDATE, error, attempts=99)
        assert (decision.state, decision.counts) == (SyncState.PENDING, False)

    def test_never_in_an_outage(self) -> None:
        decision = after(UPDATE, bad(errors.ServerError, 500), attempts=8, healthy=False)
        assert (decision.state, decision.counts) == (SyncState.PENDING, False)

    @pytest.mark.parametrize(
        "error", [errors.NotSentError(), bad(errors.RateLimitedError, 429), bad(errors.AuthenticationError, 403)]
    )
    def test_never_for_what_does_not_count(self, error: errors.BrontoError) -> None:
        assert after(UPDATE, error, attempts=99).state is SyncState.PENDING


def test_backoff_doubles_and_is_jittered() -> None:
    random.seed(1)
    for attempts, limit in ((1, 2), (2, 4), (5, 32), (8, 256), (9, 300), (1000, 300)):
        delays = [policy.backoff(attempts, SETTINGS) for _ in range(300)]
        assert min(delays) >= 0.5
        assert max(delays) <= limit
        assert max(delays) > limit * 0.8
        assert min(delays) < max(0.51, limit * 0.2)
