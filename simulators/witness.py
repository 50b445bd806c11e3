"""What others than the hub saw: every MQTT message, every counter of every edge, phones and tills. For `hub audit`."""

import json
import threading
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from simulators.phone import Phone
from wire.errors import RemoteFault
from wire.messages import Telemetry, read
from wire.topics import ROOT, parse_edge_topic


class Listener:
    """Hears everything on the broker; writes it to `capture`, keeps the last telemetry of every edge."""

    def __init__(self, host: str, port: int, capture: Path) -> None:
        self.telemetry: dict[str, Telemetry] = {}
        self.messages = 0
        self._file = capture.open("w", encoding="utf-8")
        self._ready = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="witness")
        self._client.on_connect = lambda client, *_: client.subscribe(f"{ROOT}/#", 0)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda _c, _u, message: self._on_message(message)
        self._client.connect(host, port)
        self._client.loop_start()

    def wait_ready(self, timeout_s: float) -> bool:
        """Whether the subscription stands within the time."""
        return self._ready.wait(timeout_s)

    def counters(self) -> dict[str, dict[str, int]]:
        """Edge → its last counters."""
        return {edge: dict(message.counters) for edge, message in list(self.telemetry.items())}

    def close(self) -> None:
        """Disconnect and close the capture."""
        self._client.disconnect()
        self._client.loop_stop()
        self._file.close()

    def _on_message(self, message: paho.MQTTMessage) -> None:
        payload = bytes(message.payload)
        self.messages += 1
        self._file.write(f"{message.topic} {payload.decode('utf-8', 'replace')}\n")
        if message.topic.endswith("/telemetry"):
            try:
                self.telemetry[parse_edge_topic(message.topic).edge] = read(Telemetry, payload)
            except RemoteFault:
                return


def write_witness(
    folder: Path,
    phones: Iterable[Phone],
    tills: Iterable[dict[str, Any]],
    published: dict[str, int],
    strangers: set[str],
) -> None:
    """The files that `hub audit --witness` reads, beside the logs that are in `folder` already."""
    records = [record for phone in phones for record in phone.records()]
    (folder / "phones.jsonl").write_text(_lines(records), "utf-8")
    (folder / "tills.jsonl").write_text(_lines(tills), "utf-8")
    (folder / "published.json").write_text(json.dumps(published), "utf-8")
    (folder / "bystanders.txt").write_text("\n".join(sorted(strangers)) + "\n", "ascii")


def identities_in(folder: Path, phones: Iterable[Phone], keys: Iterable[str], skip: str) -> dict[str, int]:
    """Log file → how many of its lines name an identity, a device, a key or a code; `skip` is the MQTT capture."""
    needles = set(keys)
    for phone in phones:
        needles |= {phone.profile, phone.device, phone.key}
        needles |= {one.push.code for one in phone.received.values()}
        if phone.beacon is not None:
            needles.add(phone.beacon.uuid.hex())
    found: dict[str, int] = defaultdict(int)
    for path in folder.glob("*.log"):
        if path.name == skip:
            continue
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                plain = line.replace("-", "")
                if any(needle in line or needle in plain for needle in needles):
                    found[path.name] += 1
    return dict(found)


def _lines(records: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)
