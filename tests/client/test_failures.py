from __future__ import annotations

import copy
import http.client
import inspect
import pickle
import ssl

import pytest
import requests
import urllib3

from bronto_orders import exceptions
from bronto_orders.client.deadline import Call, Deadline
from bronto_orders.client.failures import LOWER_ERRORS, REQUESTS_ERRORS, URLLIB3_ERRORS, explain
from bronto_orders.exceptions import (
    APIError,
    BrontoError,
    DeadlineError,
    FateUnknownError,
    NotSentError,
    UnreadableAnswerError,
)


def errors_of(module) -> dict[str, type[Exception]]:
    return {
        member.__name__: member
        for member in vars(module).values()
        if inspect.isclass(member)
        and issubclass(member, Exception)
        and not issubclass(member, Warning)
        and member.__module__ == module.__name__
    }


@pytest.mark.parametrize(
    ("module", "table"),
    [(requests.exceptions, REQUESTS_ERRORS), (urllib3.exceptions, URLLIB3_ERRORS)],
    ids=["requests", "urllib3"],
)
def test_every_error_of_the_library_has_a_meaning(module, table):
    errors = errors_of(module)
    assert len(errors) > 15
    assert sorted(errors.keys() - table.keys()) == []
    assert [name for name, error in errors.items() if not issubclass(error, LOWER_ERRORS)] == []


def an_error_of(kind: type[Exception]) -> Exception:
    error = kind.__new__(kind)
    error.args = ("Authorization: Bearer secret",)
    return error


@pytest.mark.parametrize("module", [requests.exceptions, urllib3.exceptions], ids=["requests", "urllib3"])
def test_what_was_not_sent_decides_before_the_table(module):
    for error in map(an_error_of, errors_of(module).values()):
        call = Call(Deadline(10))
        call.sent = False
        assert type(explain(error, call)) is NotSentError
        call.sent = True
        explained = explain(error, call)
        assert isinstance(explained, FateUnknownError)
        assert "secret" not in str(explained)


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (requests.exceptions.InvalidURL("x"), NotSentError),
        (requests.exceptions.ConnectTimeout("x"), NotSentError),
        (requests.exceptions.ConnectionError("x"), FateUnknownError),
        (requests.exceptions.ChunkedEncodingError("x"), UnreadableAnswerError),
        (http.client.BadStatusLine("x"), FateUnknownError),
        (OSError("x"), FateUnknownError),
        (UnicodeError("x"), FateUnknownError),
        (type("NewError", (requests.exceptions.InvalidURL,), {})("x"), NotSentError),
    ],
)
def test_without_word_from_a_connection_the_class_decides(error, meaning):
    assert type(explain(error, Call(Deadline(10)))) is meaning


def test_after_the_header_the_answer_is_unreadable_and_keeps_its_status():
    call = Call(Deadline(10))
    call.sent, call.status = True, 201
    explained = explain(urllib3.exceptions.ProtocolError("x"), call)
    assert type(explained) is UnreadableAnswerError
    assert explained.status == 201


def test_when_time_is_up_it_was_the_deadline():
    call = Call(Deadline(-1))
    call.sent, call.status = True, 201
    assert type(explain(OSError(), call)) is DeadlineError


def test_the_first_cause_is_named_without_its_words():
    reason = urllib3.exceptions.NewConnectionError(None, "no connection to bob@example.com")
    reason.__cause__ = ConnectionRefusedError(111, "refused bob@example.com")
    error = requests.exceptions.ConnectionError(urllib3.exceptions.MaxRetryError(None, "/orders/bob", reason))
    assert str(explain(error, Call(Deadline(10)))).endswith(": ConnectionRefusedError: Connection refused")
    assert str(explain(ssl.SSLError(1, "bob@example.com"), Call(Deadline(10)))).endswith(": SSLError")
    assert str(explain(ValueError("bob@example.com"), Call(Deadline(10)))).endswith(": ValueError")


def test_causes_in_a_circle_end():
    one, other = OSError(), OSError()
    one.__cause__, other.__cause__ = other, one
    assert isinstance(explain(one, Call(Deadline(10))), FateUnknownError)


@pytest.mark.parametrize("kind", sorted(errors_of(exceptions).values(), key=str))
def test_our_errors_survive_pickling_and_copying(kind):
    error = kind(
        "words", **({"status": 418, "reason": "why", "retry_after": 3.0} if issubclass(kind, APIError) else {})
    )
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is kind
        assert (str(twin), vars(twin)) == (str(error), vars(error))


def test_the_docstring_is_the_default_message():
    assert str(DeadlineError()) == "No complete answer arrived within the total deadline."
    assert UnreadableAnswerError(status=200).status == 200
    assert issubclass(UnreadableAnswerError, BrontoError)
