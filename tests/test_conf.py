from __future__ import annotations

import pytest
from django.http import HttpRequest
from django.test import override_settings

from bronto_orders.conf import AccountSettings, BrontoSettings, bronto_settings
from bronto_orders.exceptions import BrontoConfigurationError


def configured(**sections: object) -> override_settings:
    return override_settings(BRONTO_ORDERS=sections)


def refuse_all(request: HttpRequest) -> bool:
    return False


class TestAccounts:
    def test_defaults(self) -> None:
        with configured(ACCOUNTS={"default": {}}):
            account = bronto_settings.account("default")
        assert account == AccountSettings(name="default")
        assert (account.api_url, account.token_url) == (
            "https://rest.bronto.com",
            "https://auth.bronto.com/oauth2/token",
        )
        assert (account.create_contact, account.trigger_events, account.ignore_invalid_tid) == (False, True, True)
        assert (account.connect_timeout, account.read_timeout, account.total_timeout) == (3.0, 10.0, 15.0)
        assert (account.concurrency, account.rate_limit, account.proxies) == (16, None, None)

    def test_is_read_on_access(self) -> None:
        for concurrency in (3, 4):
            with configured(ACCOUNTS={"default": {"CONCURRENCY": concurrency}}):
                assert bronto_settings.account("default").concurrency == concurrency

    def test_unknown_account_names_those_that_exist(self) -> None:
        with configured(ACCOUNTS={"eu": {}, "us": {}}), pytest.raises(BrontoConfigurationError) as caught:
            bronto_settings.account("uk")
        assert "'uk'" in str(caught.value)
        assert "'eu', 'us'" in str(caught.value)

    def test_repr_shows_no_credential(self) -> None:
        with configured(
            ACCOUNTS={
                "default": {"CLIENT_ID": "key-1", "CLIENT_SECRET": "s3cret", "PROXIES": {"https": "http://me:pw@proxy"}}
            }
        ):
            shown = repr(bronto_settings.accounts)
        assert not any(secret in shown for secret in ("key-1", "s3cret", "me:pw"))

    def test_all_accounts(self) -> None:
        with configured(ACCOUNTS={"eu": {}, "us": {"CONCURRENCY": 2}}):
            assert bronto_settings.account_names == ["eu", "us"]
            assert bronto_settings.accounts["us"].concurrency == 2


class TestSections:
    def test_defaults(self) -> None:
        with configured():
            delivery, tracking, sandbox = bronto_settings.delivery, bronto_settings.tracking, bronto_settings.sandbox
        assert (delivery.enabled, delivery.batch_size, delivery.max_attempts) == (True, 100, 8)
        assert (delivery.add_lease_seconds, delivery.update_lease_seconds, delivery.settle_seconds) == (30, 100, 75)
        assert (delivery.backoff_base, delivery.backoff_cap) == (2, 300)
        assert delivery.environment is None
        assert (tracking.consent_hook, tracking.client_ip_hook, tracking.persist, tracking.respect_gpc) == (
            None,
            None,
            None,
            True,
        )
        assert (sandbox.enabled, sandbox.database) == (False, None)

    def test_without_the_setting(self, settings: object) -> None:
        del settings.BRONTO_ORDERS  # type: ignore[attr-defined]
        assert bronto_settings.delivery.enabled
        assert bronto_settings.accounts == {}

    def test_hooks_by_dotted_path_or_callable(self) -> None:
        for hook in (refuse_all, f"{__name__}.refuse_all"):
            with configured(TRACKING={"CONSENT": hook}):
                assert bronto_settings.tracking.consent_hook is refuse_all

    def test_a_wrong_value_raises_where_it_is_read(self) -> None:
        with configured(DELIVERY={"BATCH_SIZE": "many"}), pytest.raises(BrontoConfigurationError, match="BATCH_SIZE"):
            _ = bronto_settings.delivery

    def test_a_wrong_text_is_not_repeated(self) -> None:
        settings = {"default": {"CLIENT_SECRET": 12345678, "CLIENT_ID": b"key-1", "API_URL": "s3cret"}}
        with configured(ACCOUNTS=settings), pytest.raises(BrontoConfigurationError) as caught:
            _ = bronto_settings.accounts
        assert not any(secret in str(caught.value) for secret in ("12345678", "key-1", "s3cret"))

    @pytest.mark.parametrize("wrong", [[], "text", {"ACCOUNTS": []}], ids=repr)
    def test_not_a_dict(self, wrong: object) -> None:
        with override_settings(BRONTO_ORDERS=wrong), pytest.raises(BrontoConfigurationError, match="dict"):
            _ = BrontoSettings().accounts
