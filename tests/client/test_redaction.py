from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bronto_orders.client.redaction import Secret, excerpt, redact, redacted_body

UUID = "0ad24370-96de-4922-9a53-954530fcbb64"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("", ""),
        ("nothing to hide, 2 @ 3.99 each", "nothing to hide, 2 @ 3.99 each"),
        ("@media screen", "@media screen"),
        ("mail to @ nobody", "mail to @ nobody"),
        ("bob@example.com", "[e-mail]"),
        ("no contact <Bob.O'Neil+shop@sub.example.co.uk>!", "no contact <[e-mail]>!"),
        ("'bob@example.com'", "'[e-mail]'"),
        ("a@b.de,c@d.de;e@f.de", "[e-mail],[e-mail];[e-mail]"),
        ("a@b@c.de", "[e-mail]@c.de"),
        ("jörg@müller.example", "[e-mail]"),
        ("email=bob%40example.com&x=1", "email=[e-mail]&x=1"),
        ("https://bob:pw@example.com/x", "https://bob:[e-mail]/x"),
        (r'"j\u00f6rg@m\u00fcller.de"', '"[e-mail]"'),
        (r'"bob\u0040example.com"', '"[e-mail]"'),
        (r'"line\nbob@example.com\nline"', r'"line\n[e-mail]\nline"'),
        ("Authorization: Bearer abc.def~123+/=", "Authorization: Bearer [redacted]"),
        (f"bearer {UUID}, please", "bearer [redacted], please"),
        ("the bearer token is bad", "the bearer token is bad"),
        ("Authorization: Basic YWxhZGRpbjpvcGVu", "Authorization: Basic [redacted]"),
        (f"Access token {UUID} is unknown", "Access token [redacted] is unknown"),
        (f"token '{UUID}'", "token '[redacted]'"),
        (f"order {UUID} is kept", f"order {UUID} is kept"),
        ("grant_type=x&client_secret=abc%20d&client_id=me", "grant_type=x&client_secret=[redacted]&client_id=me"),
        ("refresh_token=abc", "refresh_token=[redacted]"),
        ('client_secret="abc"', 'client_secret="[redacted]"'),
        ("access_token: abc, next", "access_token: [redacted], next"),
        ('{"access_token" : "a\\"b", "expires_in": 3600}', '{"access_token" : "[redacted]", "expires_in": 3600}'),
        ('{"refresh_token":null,"clientSecret":7}', '{"refresh_token":"[redacted]","clientSecret":"[redacted]"}'),
        ('{"access_token": "cut of', '{"access_token": "[redacted]"'),
        ("{'access_token': 'abc', 'x': 'y'}", "{'access_token': '[redacted]', 'x': 'y'}"),
        (r'{"m":"{\"client_secret\": \"abc\"}"}', r'{"m":"{\"client_secret\": \"[redacted]\"}"}'),
        ('{"m":"client_secret=","x":"y"}', '{"m":"client_secret=","x":"y"}'),
    ],
)
def test_redact(text, redacted):
    assert redact(text) == redacted


def test_redacted_text_stays_as_it_is():
    text = redact(f"bob@example.com Bearer {UUID} client_secret=x")
    assert redact(text) == text


def test_excerpt():
    assert excerpt("abc") == "abc"
    assert excerpt("x" * 2000) == "x" * 2000
    assert excerpt("x" * 2001) == "x" * 1999 + "…"
    assert excerpt("abcdef", limit=3) == "ab…"
    assert excerpt("abc", limit=0) == "…"


def test_an_excerpt_is_redacted_before_it_is_cut():
    assert "bob" not in excerpt("xx bob@example.com", limit=8)


BODY = """{"cartId": null, "emailAddress": "bob@example.com", "grandTotal": 4.270, "originIp": "192.0.2.7",
"originUserAgent": "Mozilla \\"5.0\\"", "tid": "3.Ag.AQ", "trackingCookieName": "tid_abc", "trackingCookieValue":"3.Ag",
"lineItems": [{"name": "for ann@example.com", "tid": "nested"}], "shippingDetails": "", "deliveryId": "tid"}"""


@pytest.mark.parametrize("body", [BODY, BODY.encode()], ids=["text", "bytes"])
def test_redacted_body(body):
    redacted = redacted_body(body)
    assert json.loads(redacted) == {
        "cartId": None,
        "emailAddress": "[redacted]",
        "grandTotal": 4.27,
        "originIp": "[redacted]",
        "originUserAgent": "[redacted]",
        "tid": "[redacted]",
        "trackingCookieName": "tid_abc",
        "trackingCookieValue": "[redacted]",
        "lineItems": [{"name": "for [e-mail]", "tid": "[redacted]"}],
        "shippingDetails": "",
        "deliveryId": "tid",
    }
    assert '"grandTotal": 4.270,' in redacted


@pytest.mark.parametrize(
    ("body", "redacted"),
    [
        (b"", ""),
        (b"<html>bob@example.com</html>", "<html>[e-mail]</html>"),
        (b'{"emailAddress": "bob@exam', '{"emailAddress": "[redacted]"'),
        (b'{"emailAddress": null, "tid": ""}', '{"emailAddress": null, "tid": ""}'),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_other_bodies(body, redacted):
    assert redacted_body(body) == redacted


def test_a_long_body_is_cut():
    assert redacted_body("[" + "1," * 20_000, limit=100) == "[" + "1," * 49 + "…"


WORDS = ("@", "%40", "\\u0040", "\\", '"', "'", "a", "ü", ":", "=", "{", "}", ",", " ", "\n", "\ud83d", UUID)
NAMES = (
    "bearer",
    "token",
    "access_token",
    "client_secret",
    "refresh_token=",
    "emailAddress",
    '"tid":"',
    "authorization",
)
PIECES = st.lists(st.sampled_from(WORDS + NAMES), max_size=12).map("".join)
VALUES = PIECES | st.none() | st.integers() | st.lists(PIECES, max_size=3) | st.dictionaries(PIECES, PIECES, max_size=3)


@settings(max_examples=150, deadline=None)
@given(
    value=st.dictionaries(st.sampled_from(["tid", "access_token", "a@b"]) | PIECES, VALUES, max_size=3),
    ascii=st.booleans(),
)
def test_json_stays_json(value, ascii):
    text = json.dumps(value, ensure_ascii=ascii)
    json.loads(redact(text))
    assert json.loads(redacted_body(text)).keys() or not value


@settings(max_examples=100, deadline=None)
@given(before=PIECES, after=PIECES)
def test_an_address_never_survives(before, after):
    assert "bob@example.com" not in redact(f"{before} bob@example.com {after}")
    assert "bob@example.com" not in redacted_body(json.dumps({before: f"{after} bob@example.com"}))


@pytest.mark.parametrize(
    "text",
    [
        "a" * 1_000_000,
        "@" * 1_000_000,
        "a@" * 500_000,
        ("a" * 400 + "@") * 2_500,
        "%40" * 333_333,
        "\\" * 1_000_000,
        '"' * 1_000_000,
        "\\u00e4" * 166_666 + "@x",
        "bearer " * 142_857,
        "bearer" + " " * 999_994,
        "access_token" * 83_333,
        'access_token":"' * 66_666,
        "access_token" + "\\" * 999_000,
        "access_token" + " " * 999_000,
        '"tid":"' + "\\a" * 500_000,
        '{"emailAddress":"' * 58_000,
        "token-" * 166_666,
        "authorization" * 76_923,
    ],
    ids=lambda text: text[:16],
)
def test_a_million_characters_take_no_long(text):
    began = time.process_time()
    redacted_body(text)
    assert time.process_time() - began < 3


def test_secrets_are_sent_and_not_shown():
    secret = Secret("abc")
    assert f"Bearer {secret}" == "Bearer abc"
    assert secret.encode() == b"abc"
    assert secret == "abc"
    assert "abc" not in f"{secret!r} {[secret]} { {'a': secret} }"
