"""One message from an edge, as the writer takes it."""

from typing import Any, NamedTuple

from hub.core.foreign import NodeStatus, Report

FOREIGN = "foreign"
"""Leaf of what a node of another make said: it is read at once, so that nothing else of its message is kept."""


class Inbound(NamedTuple):
    """A payload, where it came from and when; `token` goes back to the MQTT link after the commit (PUBACK).

    Of a foreign edge there is no store, edge or payload: `said` is all that was taken out of its message.
    """

    store: str
    edge: str
    leaf: str  # presence | status | telemetry | config/ack | foreign
    payload: bytes
    received_at_ms: int
    token: Any
    said: Report | NodeStatus | None = None
    retained: bool = False  # kept by the broker: state, not something that happens now
    born: tuple[str, ...] = ()  # of a status: the edge's starts whose births came before it over the same connection
