"""The hub under test: `doorchime hub serve` as a process, on a database that is furnished beforehand."""

import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.clock import now_ms
from bench.crowd import PREFIX, STORES, TENANT, ZONES, Person, edge_name, furnish
from bench.listener import Listener
from bench.plan import Found
from bench.processes import Process, free_port
from bench.publisher import Out, Publisher
from bench.traffic import GRACE_S
from hub.core.model import Decision, EdgeBoot, Grant
from hub.stores import open_store
from hub.usecases.audit import Witness, audit
from wire import messages, topics
from wire.errors import BrokenInvariant
from wire.messages import Status

DAY_MS = 86_400_000
KEEPALIVE_S = 600
"""The hub stands still while rivals are measured; the broker must not take that for its end."""

ANSWER_S = 30.0
"""Longest wait for the first answer of a started hub, s."""


def start_hub(home: Path, broker_port: int, people: Sequence[Person], **settings: Any) -> "HubUnderTest":
    """Furnish a database in `home` and start a hub on it."""
    secret = secrets.token_bytes(32)
    secret_file = home / "secret"
    secret_file.touch(0o600)
    secret_file.write_text(secret.hex(), "ascii")
    furnish(home / "hub.db", secret, people, now_ms() - DAY_MS)
    port = free_port()
    chosen = {
        "database": f"sqlite:{home / 'hub.db'}",
        "secret_file": str(secret_file),
        "broker_url": f"mqtt://127.0.0.1:{broker_port}",
        "port": port,
        "prefixes": [PREFIX],
        "keepalive_s": KEEPALIVE_S,
        "visit_grace_s": GRACE_S,
        "late_push_s": 3600,  # the backlog is minutes old, and must be decided all the same
        **settings,
    }
    config = home / "hub.toml"
    config.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in chosen.items()), "utf-8")
    process = Process.python(home, "hub", "doorchime", "hub", "serve", "--config", str(config))
    return HubUnderTest(process, home / "hub.db", port)


class HubUnderTest:
    """A running hub, and what its database holds."""

    def __init__(self, process: Process, database: Path, port: int) -> None:
        self.process, self.database, self.port = process, database, port

    def wait_answering(self, publisher: Publisher, listener: Listener) -> None:
        """Return when the hub answers every edge's birth: it has subscribed, and commits."""
        self.process.wait_listening(self.port)
        births = [(store, edge_name(store, zone)) for store in STORES for zone in ZONES]

        def knock() -> None:
            self.process.check()
            publisher.send_all(_birth(store, edge) for store, edge in births)

        knock()
        listener.wait(lambda: ("edge-ams-door", "birth") in listener.upto, "an answer of the hub", ANSWER_S, knock)

    def found(self, boot: str, people: Sequence[Person]) -> Found:
        """What it did with the events of one boot of every edge, about these people."""
        outcome = Found()
        profiles = [one.profile for one in people]
        store = open_store(f"sqlite:{self.database}")
        try:
            with store.read() as tx:
                mine = {"tenant": TENANT, "profile": profiles}
                for decision in tx.find(Decision, mine, limit=1_000_000):
                    outcome.decide(decision.profile, decision.store, [(c[0], c[2]) for c in decision.candidates])
                for grant in tx.find(Grant, mine, limit=1_000_000):
                    outcome.grants[grant.profile, grant.offer] += 1
                edges = [edge_name(store, zone) for store in STORES for zone in ZONES]
                rows = tx.get(EdgeBoot, [(TENANT, edge, boot) for edge in edges])
                outcome.refused = sum(row.consent_refused for row in rows)
        finally:
            store.close()
        return outcome

    def audit(self) -> None:
        """Check every invariant of the hub on what it has written.

        Raises:
            BrokenInvariant: one is broken.
        """
        store = open_store(f"sqlite:{self.database}")
        try:
            with store.read() as tx:
                broken = audit(tx, TENANT, GRACE_S * 1000, now_ms(), Witness())
        finally:
            store.close()
        if broken:
            raise BrokenInvariant(f"{len(broken)} promises of the hub are broken, e.g. {broken[0].detail}")


def _birth(store: str, edge: str) -> Out:
    status = Status(v=1, edge=edge, boot="birth", state="online", version="bench")
    return Out(topics.edge_topic(store, edge, "status"), messages.write(status))
