"""The configuration we ship: it loads, and Debian's mosquitto with it loses nothing."""

import getpass
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import threading
from hashlib import sha256
from pathlib import Path

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.config import ENV_PREFIX as EDGE_ENV
from edge.config import load as load_edge
from hub.config import ENV_PREFIX as HUB_ENV
from hub.config import load as load_hub
from wire import topics
from wire.messages import MAX_PAYLOAD_BYTES

CONFIG = Path(__file__).resolve().parent.parent / "firmware_config"


@pytest.fixture
def _own_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith((HUB_ENV, EDGE_ENV)):
            monkeypatch.delenv(name)


@pytest.mark.usefixtures("_own_environment")
def test_the_shipped_settings_load():
    hub_settings, edge_settings = load_hub(CONFIG / "hub.toml"), load_edge(CONFIG / "edge.toml")
    assert hub_settings.prefixes == edge_settings.prefixes
    assert (hub_settings.broker_host, hub_settings.broker_port) == (
        edge_settings.broker_host,
        edge_settings.broker_port,
    )


def mosquitto_settings():
    lines = (CONFIG / "mosquitto.conf").read_text("utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))


def test_the_broker_is_told_not_to_lose_anything():
    settings = mosquitto_settings()
    assert settings["persistence"] == "true"
    assert settings["set_tcp_nodelay"] == "true"
    assert int(settings["max_queued_messages"]) >= 20_000
    assert int(settings["max_queued_bytes"]) >= 50_000_000
    assert int(settings["max_inflight_messages"]) > 20
    assert int(settings["max_packet_size"]) == MAX_PAYLOAD_BYTES
    assert re.fullmatch(r"\d+[hdwmy]", settings["persistent_client_expiration"])
    # retained status must work; a second persistence_location or log is refused beside Debian's own file
    assert not settings.keys() & {"retain_available", "message_size_limit", "persistence_location", "log_dest"}
    assert settings["listener"].endswith(" 127.0.0.1"), "open to the machine only, until there are passwords"


def test_the_broker_writes_nobody_into_its_log():
    assert mosquitto_settings()["connection_messages"] == "false", "the client id of a phone names its device"


def test_the_broker_lets_everybody_do_their_work_and_no_more():
    lines = (CONFIG / "acl").read_text("utf-8").splitlines()
    rights = [line.split() for line in lines if line and not line.startswith("#")]
    edge_may = {(what, topic.replace("%u", "edge-door")) for kind, *more in rights if kind == "pattern"
                for what, topic in [more]}  # fmt: skip
    leaves = {"write": ("presence", "status", "telemetry", "config/ack", "redemptions"),
              "read": ("ack", "config", "grants")}  # fmt: skip
    wanted = {(what, f"doorchime/v1/+/+/edge-door/{leaf}") for what, found in leaves.items() for leaf in found}
    assert edge_may == wanted | {("read", "doorchime/v1/app/edge-door/push")}
    hub_may = {tuple(more) for kind, *more in rights if kind == "topic"}
    for heard in (topics.PRESENCE_FILTER, topics.STATUS_FILTER, topics.TELEMETRY_FILTER, topics.CONFIG_ACK_FILTER):
        assert ("read", heard) in hub_may
    assert {("write", "doorchime/v1/+/+/+/ack"), ("write", "doorchime/v1/app/+/push")} <= hub_may


@pytest.mark.parametrize("program", ["hub", "edge"])
def test_the_units_start_again_and_name_our_files(program):
    unit = (CONFIG / f"doorchime-{program}.service").read_text("utf-8")
    assert "\nRestart=always\n" in unit
    assert f"--config /etc/doorchime/{program}.toml\n" in unit
    assert "WatchdogSec" not in unit
    assert "\nNoNewPrivileges=true\n" in unit
    folder = re.search(r"^StateDirectory=(.+)$", unit, re.MULTILINE)[1]
    assert f"/var/lib/{folder}" in (CONFIG / f"{program}.toml").read_text("utf-8")


# -- Debian's mosquitto --------------------------------------------------------------------------------------------

AWAIT_S = 120  # a loaded machine; never the thing that is tested
MESSAGES = 5_000


class Mosquitto:
    """Debian's mosquitto with the shipped configuration, on a port and in a folder of its own."""

    def __init__(self, folder, port):
        self.binary = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
        assert self.binary, "mosquitto is missing: apt-get install mosquitto"
        self.port = port
        shipped = (CONFIG / "mosquitto.conf").read_text("utf-8")
        assert shipped.count("\nlistener 1883 127.0.0.1\n") == 1
        self.config = folder / "mosquitto.conf"
        self.config.write_text(
            shipped.replace("\nlistener 1883 127.0.0.1\n", f"\nlistener {port} 127.0.0.1\n")
            + f"\npersistence_location {folder}/\nuser {getpass.getuser()}\nlog_dest stderr\nlog_type all\n"
        )

    def start(self):
        self.process = subprocess.Popen(
            [self.binary, "-c", str(self.config)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        news, said = queue.Queue(), []
        self.reader = threading.Thread(target=self._read, args=(news, said), daemon=True)
        self.reader.start()
        assert news.get(timeout=AWAIT_S) == "running", "".join(said)

    def _read(self, news, said):
        for line in self.process.stderr:  # to the end, or the pipe fills up
            if len(said) < 50:
                said.append(line)
            if line.rstrip().endswith(" running"):
                news.put("running")
        news.put("ended")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(AWAIT_S)
        self.reader.join(AWAIT_S)
        self.process.stderr.close()


class Line:
    """One MQTT client: what happened to it waits in queues."""

    def __init__(self, port, client_id, *, clean):
        self.connected, self.subscribed, self.gone, self.heard = (queue.Queue() for _ in range(4))
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=clean, protocol=paho.MQTTv311,
            reconnect_on_failure=False,
        )  # fmt: skip
        self.client.on_connect = lambda _c, _u, flags, reason, _p: self.connected.put((flags, reason))
        self.client.on_subscribe = lambda *_: self.subscribed.put(None)
        self.client.on_disconnect = lambda *_: self.gone.put(None)
        self.client.on_message = lambda _c, _u, message: self.heard.put(message.payload)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.flags, reason = self.connected.get(timeout=AWAIT_S)
        assert not reason.is_failure

    def subscribe(self, topic_filter):
        self.client.subscribe(topic_filter, 1)
        self.subscribed.get(timeout=AWAIT_S)

    def close(self):
        self.client.disconnect()
        self.gone.get(timeout=AWAIT_S)
        self.client.loop_stop()


@pytest.mark.mosquitto
def test_mosquitto_keeps_everything_for_an_absent_hub_over_its_own_restart(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    broker = Mosquitto(tmp_path, port)
    topic = topics.edge_topic("vienna-1", "edge-door", "presence")
    sent = [sha256(str(n).encode()).hexdigest().encode() for n in range(MESSAGES)]
    try:
        broker.start()
        hub = Line(port, "doorchime-hub", clean=False)
        hub.subscribe(topics.PRESENCE_FILTER)
        hub.close()
        edge = Line(port, "doorchime-edge-door", clean=True)
        waiting = [edge.client.publish(topic, payload, 1) for payload in sent]
        for one in waiting:
            one.wait_for_publish(AWAIT_S)
            assert one.is_published()
        edge.close()
        broker.stop()
        broker.start()
        hub = Line(port, "doorchime-hub", clean=False)
        assert hub.flags.session_present
        assert [hub.heard.get(timeout=AWAIT_S) for _ in sent] == sent
        hub.close()
    finally:
        broker.stop()
