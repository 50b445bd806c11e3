"""The embedded broker: starts, stops, says why not, and ends with its parent."""

import os
import select
import signal
import socket
import subprocess
import sys
import tomllib

import pytest
from paho.mqtt import client as paho

from hub.intake.broker import EmbeddedBroker, ExternalBroker, settings_toml
from wire.errors import BadConfig
from wire.messages import MAX_PAYLOAD_BYTES


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
    except OSError:
        return False


def _wait_for_end(pid: int) -> None:
    """Until a process that is not our child is gone."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([handle], [], [], 30)[0], "still running"
    finally:
        os.close(handle)


def test_it_listens_after_start_and_not_after_stop(broker: EmbeddedBroker) -> None:
    assert _listens(broker.port)
    assert broker.wait(0) is None
    broker.stop()
    assert not _listens(broker.port)
    broker.stop()
    assert broker.wait(0) is not None


def test_its_port_can_be_used_again_at_once(broker: EmbeddedBroker) -> None:
    with socket.create_connection(("127.0.0.1", broker.port)):
        broker.stop()
    again = EmbeddedBroker(broker.port)
    again.start()
    again.stop()


def test_a_taken_port_is_our_mistake(broker: EmbeddedBroker) -> None:
    with pytest.raises(BadConfig, match="another port"):
        EmbeddedBroker(broker.port).start()


def test_wait_returns_when_the_child_dies(broker: EmbeddedBroker) -> None:
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGKILL)
    assert broker.wait(30) == -signal.SIGKILL


def test_it_ends_with_its_parent_even_on_kill_9(free_port: int) -> None:
    program = (
        "from hub.intake.broker import EmbeddedBroker\n"
        f"b = EmbeddedBroker({free_port}); b.start(); print(b.pid, flush=True); b.wait()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        _wait_for_end(child)
    assert not _listens(free_port)


def test_the_largest_message_of_the_contract_passes(broker: EmbeddedBroker) -> None:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="largest")
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    sent = client.publish("a" * 255, b"x" * MAX_PAYLOAD_BYTES, qos=1)
    sent.wait_for_publish(30)
    assert sent.is_published()
    client.disconnect()
    client.loop_stop()


def test_its_settings_are_toml_on_loopback() -> None:
    settings = tomllib.loads(settings_toml("127.0.0.1", 1))
    assert settings["v4"]["1"]["listen"] == "127.0.0.1:1"
    assert settings["router"]["max_segment_size"] * settings["router"]["max_segment_count"] == 100 * 1024 * 1024
    assert settings["v4"]["1"]["connections"]["max_payload_size"] > MAX_PAYLOAD_BYTES


def test_an_external_broker_is_only_an_address() -> None:
    broker = ExternalBroker("broker.shop", 1883)
    broker.start()
    assert (broker.host, broker.port, broker.wait(0)) == ("broker.shop", 1883, None)
    broker.stop()
    assert broker.wait() is None
