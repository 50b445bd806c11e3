"""The edge as a shop runs it, `radio = "bluez"`, unmodified, on a BlueZ without a radio."""

import asyncio
import json
import sqlite3
import subprocess
from collections import Counter
from contextlib import closing, suppress

import paho.mqtt.client as mqtt
import pytest

from simulators.bluez import FakeBlueZ
from simulators.bluez.crowd import Crowd
from simulators.bluez.playing import play
from tests.e2e.system import PREFIX, Program, accepts, free_port, to_toml, until
from wire.trace import Frame, write_line

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

MEMBERS = 3
PASSED_BY = 2


def heard(seconds):
    """Members of our fleet and strangers, five times a second each."""
    crowds = [Crowd(MEMBERS, 5, prefix=bytes.fromhex(PREFIX)), Crowd(PASSED_BY, 5, prefix=b"else", seed=2)]
    found = [one._replace(rssi_dbm=-55) for crowd in crowds for one in within(crowd, seconds)]
    return sorted(found, key=lambda one: one.t_ms)


def within(crowd, seconds):
    for one in crowd.heard():
        if one.t_ms >= seconds * 1000:
            return
        yield one


def edge(home, mqtt_port):
    state = home / "state"
    state.mkdir()
    (home / "edge.toml").write_text(to_toml({
        "edge": "door", "store": "shop", "broker_url": f"mqtt://127.0.0.1:{mqtt_port}", "radio": "bluez",
        "state_dir": str(state), "prefixes": [PREFIX], "connect_spread_s": 0, "reconnect_max_s": 1,
    }))  # fmt: skip
    return Program(home, "edge", "edge", "run", "--config", str(home / "edge.toml"))


def kept(home):
    """Beacons by kind of event in the edge's outbox."""
    with suppress(sqlite3.OperationalError):  # it is not there yet
        path = home / "state" / "outbox.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            rows = [json.loads(body) for (body,) in db.execute("SELECT body FROM event")]
            return Counter({(row["kind"], row["beacon"]["minor"]) for row in rows})
    return Counter()


async def ended(*programs):
    """Exit codes after SIGTERM; in a thread, because the fake must answer meanwhile."""
    codes = []
    for program in programs:
        try:
            codes.append(await asyncio.to_thread(program.stop, 30))
        except subprocess.TimeoutExpired:
            program.kill()
            codes.append("killed")
    return codes


async def test_a_recording_becomes_enters_in_the_outbox(tmp_path, monkeypatch):
    frames = [
        Frame(t_ms=one.t_ms, scanner="door", address=one.address, rssi_dbm=one.rssi_dbm, adv=one.adv.hex())
        for one in heard(10)
    ]
    (tmp_path / "x.frames.jsonl").write_bytes(b"".join(map(write_line, frames)))
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'bus'}")
    radio = Program(tmp_path, "radio", "sim", "replay", str(tmp_path / "x.frames.jsonl"), "--socket",
                    str(tmp_path / "bus"), "--bluez", "--linger", "600").start()  # fmt: skip
    door = edge(tmp_path, 1)
    try:
        await until((tmp_path / "bus").exists, "the fake BlueZ listens")
        door.start()
        await until(lambda: [kind for kind, _ in kept(tmp_path)].count("enter") == MEMBERS, "three members entered")
        await until(lambda: "played to the end" in radio.log, "the recording ends")
        assert len({minor for _, minor in kept(tmp_path)}) == MEMBERS
    finally:
        codes = await ended(door, radio)
    assert codes == [0, 0], door.log + radio.log
    assert f"played {len(frames)}, told {len(frames)}" in radio.log


@pytest.mark.dbus
async def test_through_a_real_dbus_daemon_to_mqtt(tmp_path, monkeypatch):
    port = free_port()
    broker = Program(tmp_path, "broker", "hub", "broker", "--port", str(port)).start()
    door = edge(tmp_path, port)
    events = []
    listener = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    listener.on_connect = lambda client, *_: client.subscribe("doorchime/v1/+/shop/door/presence", 1)
    listener.on_message = lambda _client, _data, message: events.extend(json.loads(message.payload)["events"])
    async with FakeBlueZ(path=tmp_path / "bus", bus="daemon") as radio:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", radio.address)
        playing = None
        try:
            await until(lambda: accepts(port), "the broker listens")
            listener.connect("127.0.0.1", port)
            listener.loop_start()
            door.start()
            async with asyncio.timeout(90):
                await radio.until(lambda: radio.scanning("hci0", "active"))
            playing = asyncio.create_task(play(radio, heard(300), 1.0, Counter()))

            def entered():
                return {event["beacon"]["minor"] for event in list(events) if event["kind"] == "enter"}

            await until(lambda: len(entered()) == MEMBERS, "three enters on MQTT")
            assert {event["beacon"]["minor"] for event in list(events)} == entered()
        finally:
            if playing is not None:
                playing.cancel()
            listener.loop_stop()
            codes = await ended(door, broker)
    assert codes == [0, 0], door.log
