"""Which starts of each edge said their birth over one connection to the broker, in order.

Within a connection a broker brings nothing twice and nothing out of order (MQTT 3.1.1, 4.4 and 4.6). Over the next one
it may bring everything again, and one that is killed before it saves does so each time.
"""

from wire.errors import RemoteFault
from wire.messages import Status, read

EDGES_MAX = 10_000
"""Edges remembered per connection: more than one hub serves. What others say proves nothing. 20 MB at most."""

STARTS_MAX = 16
"""Starts remembered of each, the latest: as many as `hub.core.boots` tells apart."""


class Births:
    """One per connection."""

    def __init__(self) -> None:
        self._heard: dict[str, tuple[str, ...]] = {}

    def note(self, edge: str, payload: bytes) -> tuple[str, ...]:
        """The starts that were born before this status came; if it is a birth, it is noted."""
        before = self._heard.get(edge, ())
        try:
            status = read(Status, payload)
        except RemoteFault:
            return before  # told and counted by whoever takes it
        if status.state == "online" and status.boot not in before and (before or len(self._heard) < EDGES_MAX):
            self._heard[edge] = (*before, status.boot)[-STARTS_MAX:]
        return before
