"""The only spelling of an MQTT topic.

    doorchime/v1/<pp>/<store>/<edge>/presence       edge → hub, QoS 1
    doorchime/v1/<pp>/<store>/<edge>/ack            hub → edge, QoS 1, not retained
    doorchime/v1/<pp>/<store>/<edge>/status         edge → all, retained; birth and last will
    doorchime/v1/<pp>/<store>/<edge>/telemetry      edge → all, QoS 0
    doorchime/v1/<pp>/<store>/<edge>/config         hub → edge, retained, versioned
    doorchime/v1/<pp>/<store>/<edge>/config/ack     edge → hub, QoS 1
    doorchime/v1/<pp>/<store>/<edge>/grants         hub → till edge, QoS 1
    doorchime/v1/<pp>/<store>/<edge>/redemptions    till edge → hub, QoS 1
    doorchime/v1/<pp>/<store>/occupancy             hub → all, retained
    doorchime/v1/app/<device>/push                  hub → one phone, QoS 1

`<pp>` is the partition of the store: two hexadecimal digits of `crc32(store) & 255`, fixed for life, so that a
store is always handled by one worker. Levels match `[a-z0-9-]+`, 1…64 characters: no level can hold a wildcard
of MQTT (`+ #`) or of brokers that map topics to subjects (`. * >`).
"""

import re
from typing import NamedTuple
from zlib import crc32

from wire.errors import BadTopic

ROOT = "doorchime/v1"
PRESENCE_FILTER = f"{ROOT}/+/+/+/presence"
STATUS_FILTER = f"{ROOT}/+/+/+/status"
TELEMETRY_FILTER = f"{ROOT}/+/+/+/telemetry"
CONFIG_ACK_FILTER = f"{ROOT}/+/+/+/config/ack"

LEVEL_MAX_CHARS = 64
"""Longest level. Eight levels of it stay far below MQTT's 65,535 bytes and a log line stays readable."""

_LEVEL = re.compile(r"[a-z0-9-]{1,64}\Z")
_EDGE_LEAVES = frozenset({"presence", "ack", "status", "telemetry", "config", "config/ack", "grants", "redemptions"})


class EdgeTopic(NamedTuple):
    """A parsed topic of one edge; `leaf` is one of presence, ack, status, telemetry, config, config/ack, …"""

    store: str
    edge: str
    leaf: str


def check_level(text: str, what: str = "level") -> str:
    """`text` itself when it may stand in a topic.

    Raises:
        BadTopic: anything but 1…64 of `a-z 0-9 -`.
    """
    if not _LEVEL.match(text):
        raise BadTopic(f"{what} {text[:80]!r} must be 1 to {LEVEL_MAX_CHARS} of a-z, 0-9 and '-'")
    return text


def partition(store: str) -> str:
    """The store's partition, two lower-case hexadecimal digits."""
    return f"{crc32(store.encode()) & 255:02x}"


def edge_topic(store: str, edge: str, leaf: str) -> str:
    """`doorchime/v1/<pp>/<store>/<edge>/<leaf>`."""
    if leaf not in _EDGE_LEAVES:
        raise BadTopic(f"no topic ends in {leaf!r}")
    check_level(store, "store")
    return f"{ROOT}/{partition(store)}/{store}/{check_level(edge, 'edge')}/{leaf}"


def occupancy_topic(store: str) -> str:
    """`doorchime/v1/<pp>/<store>/occupancy`."""
    check_level(store, "store")
    return f"{ROOT}/{partition(store)}/{store}/occupancy"


def push_topic(device: str) -> str:
    """`doorchime/v1/app/<device>/push`."""
    return f"{ROOT}/app/{check_level(device, 'device')}/push"


def parse_edge_topic(topic: str) -> EdgeTopic:
    """Read an edge's topic; the partition must be the store's own.

    Raises:
        BadTopic: outside the grammar, or a partition that `crc32(store)` does not give.
    """
    head, _, rest = topic.partition(ROOT + "/")
    levels = rest.split("/", 3)
    if head or len(levels) != 4:
        raise BadTopic(f"{topic[:200]!r} is not a topic of an edge")
    pp, store, edge, leaf = levels
    check_level(store, "store")
    check_level(edge, "edge")
    if leaf not in _EDGE_LEAVES:
        raise BadTopic(f"no topic ends in {leaf[:80]!r}")
    if pp != partition(store):
        raise BadTopic(f"store {store!r} is in partition {partition(store)}, not {pp[:8]!r}")
    return EdgeTopic(store, edge, leaf)
