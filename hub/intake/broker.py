"""Where the MQTT broker is: one of our own as a child process, or an address.

The embedded broker (iotcore, a rumqttd in a wheel) is for demos, tests and single machines. What it lacks, and we
therefore do not rely on: it keeps sessions, retained messages and queued messages in memory only; it has no topic
ACL; it hands at most 100 unacknowledged messages to a subscriber; it keeps one ring log *per subscription filter*,
which silently overwrites what an absent subscriber has not read. Acknowledgement is end to end for that reason.
"""

import subprocess
import sys
import threading
from importlib.util import find_spec
from socket import AF_INET, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET, create_connection, gethostbyname, socket
from typing import Protocol

from wire.errors import BadConfig, LocalFault
from wire.messages import MAX_PAYLOAD_BYTES

SEGMENT_BYTES = 10 * 1024 * 1024
"""Size of one piece of a filter's ring log. With 2 × 1 MiB an absent reader was measured to lose 90 % of 20,000."""

SEGMENTS = 10
"""Pieces per filter: 100 MiB hold about 200,000 batches of one event; memory is taken only as it fills."""

MAX_INFLIGHT = 1_000
"""Unacknowledged messages towards one client that we ask for; version 0.4 uses 100 whatever it is told."""

MAX_CONNECTIONS = 10_000
"""More edges than one machine serves; a limit all the same."""

START_S = 15.0
"""Longest start seen under load is 3 s; give up and say so well after that."""

_PACKET_OVERHEAD = 1024  # topic and fixed header of a packet beside its payload
_POLL_S = 0.02  # rumqttd tells nobody when it listens: knock this often
_CHILD = "hub.intake.broker_child"


class Broker(Protocol):
    """A broker this program can use."""

    @property
    def host(self) -> str:
        """Where to connect."""

    @property
    def port(self) -> int:
        """Where to connect."""

    def start(self) -> None:
        """Return when connections are accepted.

        Raises:
            LocalFault: it cannot be had.
        """

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Block until the broker is gone; its exit code, or None when `timeout_s` ran out or it is not ours."""

    def stop(self) -> None:
        """Stop it if it is ours; idempotent."""


class ExternalBroker:
    """A broker somebody else runs. Not being reachable is no error: the MQTT link keeps trying."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._stopped = threading.Event()

    def start(self) -> None:
        """Nothing to do."""

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Block until `stop`."""
        self._stopped.wait(timeout_s)
        return None

    def stop(self) -> None:
        """Wake whoever waits."""
        self._stopped.set()


class EmbeddedBroker:
    """A broker in a child process of ours; it ends with us, whatever ends us."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.host = host
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the child, None before `start`."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the child and wait until it listens.

        Raises:
            BadConfig: the port is taken, or the package is missing.
            LocalFault: the child died or does not listen within `START_S`.
        """
        if self._process is not None:
            return
        if find_spec("iotcore") is None:
            raise BadConfig("the embedded broker is not installed: pip install 'doorchime[demo]'")
        address = _check_free(self.host, self.port)
        # The child reads its stdin and exits at end of file, which comes however we die, kill -9 included.
        process = subprocess.Popen(
            [sys.executable, "-m", _CHILD, address, str(self.port)], stdin=subprocess.PIPE, start_new_session=True
        )
        self._process = process
        knock = threading.Event()
        for _ in range(int(START_S / _POLL_S)):
            if process.poll() is not None:
                self._process = None
                raise LocalFault(f"the embedded broker ended at once, exit code {process.returncode}")
            if _accepts(address, self.port):
                return
            knock.wait(_POLL_S)
        self.stop()
        raise LocalFault(f"the embedded broker does not listen on {self.host}:{self.port} after {START_S:.0f} s")

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Block until the child is gone; its exit code, None if it still runs after `timeout_s`."""
        if self._process is None:
            return None
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        """End the child; the port is free afterwards."""
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def settings_toml(host: str, port: int) -> str:
    """The broker's configuration file."""
    return f"""id = 0

[router]
id = 0
max_connections = {MAX_CONNECTIONS}
max_outgoing_packet_count = 200
max_segment_size = {SEGMENT_BYTES}
max_segment_count = {SEGMENTS}

[v4.1]
name = "doorchime"
listen = "{host}:{port}"
next_connection_delay_ms = 1

[v4.1.connections]
connection_timeout_ms = 60000
max_payload_size = {MAX_PAYLOAD_BYTES + _PACKET_OVERHEAD}
max_inflight_count = {MAX_INFLIGHT}
dynamic_filters = true
"""


def _check_free(host: str, port: int) -> str:
    """The numeric address to listen on."""
    with socket(AF_INET, SOCK_STREAM) as probe:
        probe.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)  # connections of the last broker may linger on the port
        try:
            address = gethostbyname(host)
            probe.bind((address, port))
        except OSError as exc:
            raise BadConfig(f"broker: cannot listen on {host}:{port}: {exc.strerror}; choose another port") from exc
    return address


def _accepts(host: str, port: int) -> bool:
    try:
        with create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
