from __future__ import annotations

import threading
from pathlib import Path

import pytest
from kombu import Connection, Producer, Queue

from demo_project.broker import transport_options

QUEUE = Queue("orders.mirror", routing_key="orders.mirror")
MESSAGES = 300


def test_no_message_is_read_before_it_is_whole(tmp_path: Path) -> None:
    options = {**transport_options("folder://", tmp_path), "polling_interval": 0.001}

    def publish() -> None:
        with Connection("folder://localhost", transport_options=options) as connection:
            producer = Producer(connection)
            for number in range(MESSAGES):
                producer.publish({"number": number}, routing_key=QUEUE.routing_key, declare=[QUEUE], retry=False)

    publisher = threading.Thread(target=publish)
    publisher.start()
    received = set()
    with Connection("folder://localhost", transport_options=options) as connection:
        queue = QUEUE(connection.default_channel)
        queue.declare()
        while publisher.is_alive() or len(received) < MESSAGES:
            if message := queue.get():
                received.add(message.payload["number"])
                message.ack()
    publisher.join()
    assert received == set(range(MESSAGES))
    assert not list((tmp_path / "messages").iterdir())


@pytest.mark.parametrize("url", ["redis://localhost", "rediss://localhost", "amqp://localhost", "sqs://"])
def test_a_broker_that_is_down_is_not_asked_again(url: str, tmp_path: Path) -> None:
    assert transport_options(url, tmp_path)["max_retries"] == 0
    assert not list(tmp_path.iterdir())
