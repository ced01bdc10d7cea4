from __future__ import annotations

import pytest
from django.test import RequestFactory
from hypothesis import given, settings
from hypothesis import strategies as st

from bronto_orders.client_ip import behind, parse


class TestParse:
    @pytest.mark.parametrize(
        ("text", "address"),
        [
            ("192.0.2.7", "192.0.2.7"),
            (" 192.0.2.7 ", "192.0.2.7"),
            ("2001:DB8:0::1", "2001:db8::1"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("::FFFF:c000:207", "192.0.2.7"),
            ("fe80::1%eth0", "fe80::1"),
            ("192.0.2.7:8080", "192.0.2.7"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[::ffff:192.0.2.7]:443", "192.0.2.7"),
            ("[fe80::1%25eth0]:443", "fe80::1"),
            ("192.0.2.7, 198.51.100.1", None),
            ("192.0.2.07", None),
            ("192.0.2.7:http", None),
            ("192.0.2.7:808080", None),
            ("[192.0.2.7", None),
            ("[]", None),
            ("[2001:db8::1]443", None),
            ("_hidden", None),
            ("unknown", None),
            ("unix:", None),
            ("", None),
            ("1", None),
            ("192.0.2.7\x00", None),
            ("\u0661.1.1.1", None),
            ("%eth0", None),
            (None, None),
            (3221225991, None),
            (b"\xc0\x00\x02\x07", None),
        ],
    )
    def test_takes_only_addresses(self, text: object, address: str | None) -> None:
        assert parse(text) == address

    @given(st.one_of(st.text(), st.ip_addresses().map(str), st.text("0123456789abcdef:.[]%", max_size=30)))
    @settings(deadline=None)
    def test_survives_any_text_and_is_canonical(self, text: str) -> None:
        found = parse(text)
        assert found is None or parse(found) == found
        assert found is None or set(found) <= set("0123456789abcdef:.")


def ask(proxies: int, *forwarded: str, header: str = "X-Forwarded-For") -> str | None:
    headers = {header: ",".join(forwarded)} if forwarded else {}
    return behind(proxies, header)(RequestFactory().get("/", headers=headers, REMOTE_ADDR="10.0.0.9"))


class TestBehind:
    def test_one_proxy(self) -> None:
        assert ask(1, "203.0.113.1") == "203.0.113.1"

    def test_several(self) -> None:
        assert ask(2, "203.0.113.1", " 10.0.0.1") == "203.0.113.1"
        assert ask(3, "2001:DB8::7", "10.0.0.1", "10.0.0.2") == "2001:db8::7"

    def test_what_the_client_wrote_itself_is_never_believed(self) -> None:
        for lie in ("198.51.100.66", "junk", "", "198.51.100.66, 198.51.100.67"):
            assert ask(1, lie, "203.0.113.1") == "203.0.113.1"
            assert ask(2, lie, "203.0.113.1", "10.0.0.1") == "203.0.113.1"

    def test_requests_around_the_proxies_give_none(self) -> None:
        assert ask(1) is None
        assert ask(2, "203.0.113.1") is None

    @pytest.mark.parametrize("entry", ["unknown", "", "_secret", "203.0.113.1 203.0.113.2"])
    def test_garbage_gives_none(self, entry: str) -> None:
        assert ask(1, entry) is None

    def test_another_header(self) -> None:
        assert ask(1, "203.0.113.1:52100", header="X-Azure-ClientIP") == "203.0.113.1"

    @pytest.mark.parametrize("proxies", [0, -1, True, None, "1", 1.0])
    def test_the_number_must_be_known(self, proxies: object) -> None:
        with pytest.raises(ValueError, match="proxies"):
            behind(proxies)  # type: ignore[arg-type]
