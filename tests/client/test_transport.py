from __future__ import annotations

import contextlib
import gzip
import os
import socket
import struct
import threading
import time
import warnings

import pytest

from bronto_orders.client import transport as transport_module
from bronto_orders.client.transport import Transport, build_request
from bronto_orders.exceptions import FateUnknownError, NotSentError, UnreadableAnswerError
from tests.client.conftest import answering, in_threads, post, raises_in
from tests.client.stub import CERTIFICATE, Server, reply


def test_sends_the_request_and_returns_the_whole_answer(serve):
    server = serve(answering(201, {"orderId": "1"}, {"X-Reason": "none"}, phrase="Created"))
    answer = post(server.url)
    assert (answer.status, answer.phrase, answer.body) == (201, "Created", b'{"orderId": "1"}')
    assert answer.headers["x-reason"] == "none"
    (request,) = server.received
    assert (request.method, request.target, request.body) == ("POST", "/orders", b"{}")
    assert request.headers["x-test"] == "1"


def test_connection_refused():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with raises_in(1.0, NotSentError) as caught:
        post(url)
    assert str(caught.value).endswith("ConnectionRefusedError: Connection refused")


def test_unknown_host(monkeypatch):
    def unknown(*args: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with raises_in(1.0, NotSentError) as caught:
        post("http://rest.bronto.invalid")
    assert str(caught.value).endswith("gaierror: Name or service not known")


def test_a_host_whose_name_cannot_be_looked_up():
    with raises_in(1.0, NotSentError):
        post(f"http://{'a' * 64}.example")


@pytest.fixture
def deaf_port():
    """A port on all loopback addresses that takes no more connections: a connection attempt gets no answer."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("0.0.0.0", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", listener.getsockname()[1]))
        time.sleep(0.05)
        yield listener.getsockname()[1]


def test_no_connection_within_the_connect_timeout(deaf_port):
    with raises_in(1.0, NotSentError) as caught:
        post(f"http://127.0.0.1:{deaf_port}", connect_timeout=0.2)
    assert "TimeoutError" in str(caught.value)


def test_all_addresses_of_a_host_share_the_deadline(deaf_port, monkeypatch):
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", deaf_port)) for n in range(1, 9)]
    lookup = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest: addresses if host == "many.example" else lookup(host, *rest)
    )
    with raises_in(1.0, NotSentError):
        post(f"http://many.example:{deaf_port}", connect_timeout=0.3, total_timeout=0.5)


def test_the_next_address_is_tried(serve, monkeypatch):
    server = serve(answering())
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, server.port)) for ip in ("127.0.0.9", "127.0.0.1")]
    lookup = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest: addresses if host == "two.example" else lookup(host, *rest)
    )
    assert post(f"http://two.example:{server.port}").status == 200


def test_tls(serve):
    server = serve(answering(200, b"hello"), tls=True)
    assert post(server.url, verify=str(CERTIFICATE)).body == b"hello"


def test_a_certificate_of_nobody_we_know(serve):
    server = serve(answering(), tls=True)
    with raises_in(1.0, NotSentError) as caught:
        post(server.url)
    assert "self-signed certificate" in str(caught.value)
    assert server.received == []


def test_tls_with_a_server_that_speaks_plain_http(serve):
    server = serve(answering())
    with raises_in(1.0, NotSentError) as caught:
        post(server.url.replace("http://", "https://"))
    assert ": SSL" in str(caught.value)


def test_a_tls_handshake_that_never_ends():
    with socket.create_server(("127.0.0.1", 0)) as listener, raises_in(1.0, NotSentError):
        post(f"https://127.0.0.1:{listener.getsockname()[1]}", total_timeout=0.3)


def test_reset_after_the_request_was_sent(serve):
    def reset(request: object, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    server = serve(reset)
    with raises_in(1.0, FateUnknownError) as caught:
        post(server.url)
    assert "ConnectionResetError" in str(caught.value)


def test_closed_after_the_request_was_sent(serve):
    server = serve(lambda request, connection: None)
    with raises_in(1.0, FateUnknownError) as caught:
        post(server.url)
    assert "RemoteDisconnected" in str(caught.value)
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", id="short of its length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", id="without last chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="with a senseless chunk"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nhalf",
            id="not what it is said to be",
        ),
    ],
)
def test_a_body_that_is(serve, answer):
    def send(request: object, connection: socket.socket) -> None:
        connection.sendall(answer)

    server = serve(send)
    with raises_in(1.0, UnreadableAnswerError) as caught:
        post(server.url)
    assert caught.value.status == 200


def test_an_answer_that_is_no_http(serve):
    def send(request: object, connection: socket.socket) -> None:
        connection.sendall(b"220 mail.example ESMTP\r\n")

    server = serve(send)
    with raises_in(1.0, FateUnknownError):
        post(server.url)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="stated length"),
        pytest.param({"Content-Encoding": "gzip"}, id="compressed"),
    ],
)
def test_an_answer_that_is_too_big(serve, headers):
    body = b"x" * 5_000_001
    server = serve(answering(200, gzip.compress(body) if headers else body, headers))
    with raises_in(2.0, UnreadableAnswerError) as caught:
        post(server.url, max_answer_bytes=5_000_000)
    assert str(caught.value) == "The answer has more than 5000000 bytes"
    assert caught.value.status == 200
    assert len(post(server.url, max_answer_bytes=5_000_001).body) == 5_000_001


def test_an_endless_answer_is_too_big(serve):
    server = serve(
        lambda request, connection: server.drip(
            connection, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", forever=b"x" * 100_000, every=0.001
        )
    )
    with raises_in(2.0, UnreadableAnswerError):
        post(server.url, max_answer_bytes=1_000_000)


def test_no_more_of_a_refusal_is_read_than_a_reason_needs(serve):
    server = serve(answering(500, b"x" * 1_000_000))
    assert len(post(server.url).body) == 64 * 1024


@pytest.mark.parametrize("location", ["/elsewhere", "http://[", "//x:y@z", ""])
def test_redirects_are_not_followed(serve, location):
    server = serve(answering(302, b"", {"Location": location}))
    assert post(server.url).status == 302
    assert len(server.received) == 1


def test_cookies_are_not_sent_back(serve):
    server = serve(answering(200, b"", {"Set-Cookie": "a=b"}))
    with contextlib.closing(Transport()) as transport:
        for _ in range(2):
            transport.send(build_request("GET", server.url, {}))
    assert "cookie" not in server.received[1].headers


def test_connections_are_used_again(serve):
    statuses = iter([200, 404, 204, 500, 200])
    server = serve(lambda request, connection: reply(next(statuses), b""))
    with contextlib.closing(Transport()) as transport:
        for _ in range(5):
            transport.send(build_request("POST", server.url, {}, b"{}"))
    assert {request.connection for request in server.received} == {1}


def test_a_connection_that_the_server_closed_meanwhile_is_not_used(serve):
    def answer_and_close(request: object, connection: socket.socket) -> None:
        connection.sendall(reply(200, b"one"))

    server = serve(answer_and_close)
    with contextlib.closing(Transport()) as transport:
        for _ in range(3):
            assert transport.send(build_request("POST", server.url, {}, b"{}")).body == b"one"
            time.sleep(0.05)
    assert len(server.received) == 3


def test_a_connection_that_the_server_closes_now_leaves_the_fate_unknown(serve):
    server = serve(lambda request, connection: reply(200) if len(server.received) == 1 else None)
    with contextlib.closing(Transport()) as transport:
        transport.send(build_request("POST", server.url, {}, b"{}"))
        with raises_in(1.0, FateUnknownError):
            transport.send(build_request("POST", server.url, {}, b"{}"))
    assert [request.connection for request in server.received] == [1, 1]


def test_a_connection_that_was_idle_for_long_is_replaced(serve, monkeypatch):
    monkeypatch.setattr(transport_module, "_IDLE_SECONDS", 0.05)
    server = serve(answering())
    with contextlib.closing(Transport()) as transport:
        for pause in (0, 0, 0.1):
            time.sleep(pause)
            transport.send(build_request("POST", server.url, {}, b"{}"))
    assert [request.connection for request in server.received] == [1, 1, 2]


def test_calls_wait_for_a_free_connection(serve):
    def slowly(request: object, connection: object) -> bytes:
        time.sleep(0.02)
        return reply(200, b"ok")

    server = serve(slowly)
    with contextlib.closing(Transport(pool_size=2)) as transport:
        answers = in_threads(8, lambda _: transport.send(build_request("GET", server.url, {})).body)
    assert answers == [b"ok"] * 8
    assert {request.connection for request in server.received} == {1, 2}


def test_failures_do_not_use_up_the_pool(serve):
    answers = iter([None, reply(500, b"x" * 100_000), None, reply(200, b"good")])
    server = serve(lambda request, connection: next(answers))
    with contextlib.closing(Transport(pool_size=1, total_timeout=2)) as transport:
        for _ in range(3):
            with contextlib.suppress(FateUnknownError):
                transport.send(build_request("GET", server.url, {}))
        assert transport.send(build_request("GET", server.url, {})).body == b"good"


def test_environment_proxies_are_ignored(serve, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert post(serve(answering()).url).status == 200


def test_a_forwarding_proxy(serve):
    proxy = serve(answering(200, b"by proxy"))
    answer = post("http://rest.example", "/orders/%2E%2E?a=b", proxies={"http": proxy.url})
    assert answer.body == b"by proxy"
    assert proxy.received[0].target == "http://rest.example/orders/%2E%2E?a=b"


def test_a_proxy_that_is_down():
    with raises_in(1.0, NotSentError):
        post("http://rest.example", proxies={"http": "http://127.0.0.1:9"})


def test_a_proxy_that_refuses_the_tunnel(serve):
    proxy = serve(answering(407))
    with raises_in(1.0, NotSentError) as caught:
        post("https://rest.example", proxies={"https": proxy.url})
    assert str(caught.value).endswith("the proxy refused the tunnel with status 407")


def test_a_proxy_that_drips(serve):
    proxy = serve(lambda request, connection: proxy.drip(connection, b"HTTP/1.1 200 OK\r\nX: "))
    with raises_in(1.0, NotSentError):
        post("https://rest.example", proxies={"https": proxy.url}, total_timeout=0.3)


def tunnel(target: Server):
    """Answer CONNECT and pass everything on to the target."""

    def handle(request: object, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        with socket.create_connection(("127.0.0.1", target.port)) as other:
            back = threading.Thread(target=pump, args=[other, connection], daemon=True)
            back.start()
            pump(connection, other)
            back.join()

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    return handle


def test_a_tunnelling_proxy(serve):
    server = serve(answering(200, b"inside"), tls=True)
    proxy = serve(tunnel(server))
    answer = post(server.url, proxies={"https": proxy.url}, verify=str(CERTIFICATE))
    assert answer.body == b"inside"
    assert proxy.received[0].method == "CONNECT"


def test_a_forked_child_opens_connections_of_its_own(serve):
    server = serve(answering())
    with contextlib.closing(Transport()) as transport:
        transport.send(build_request("GET", server.url + "/parent", {}))
        with warnings.catch_warnings():
            # Python warns of forking with threads about: just what this is about.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                transport.send(build_request("GET", server.url + "/child", {}))
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        transport.send(build_request("GET", server.url + "/parent", {}))
    assert [(request.target, request.connection) for request in server.received] == [
        ("/parent", 1),
        ("/child", 2),
        ("/parent", 1),
    ]


def test_a_closed_transport_opens_new_connections(serve):
    server = serve(answering())
    transport = Transport()
    for _ in range(2):
        transport.send(build_request("GET", server.url, {}))
        transport.close()
    assert [request.connection for request in server.received] == [1, 2]


@pytest.mark.parametrize(
    "options",
    [
        {"connect_timeout": 0},
        {"read_timeout": -1},
        {"total_timeout": float("inf")},
        {"total_timeout": float("nan")},
        {"pool_size": 0},
        {"max_answer_bytes": 0},
    ],
)
def test_senseless_limits_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Transport(**options)


def test_connections_serve_calls_only():
    with contextlib.closing(Transport()) as transport, pytest.raises(RuntimeError):
        transport._sessions.get().get("http://127.0.0.1:9")
