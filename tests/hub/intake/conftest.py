"""A real broker for the tests of the intake."""

import socket
from collections.abc import Iterator

import pytest

from hub.intake.broker import EmbeddedBroker


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def broker(free_port: int) -> Iterator[EmbeddedBroker]:
    broker = EmbeddedBroker(free_port)
    broker.start()
    yield broker
    broker.stop()
