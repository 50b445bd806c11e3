"""Nothing in any log names a person, at the most talkative level, whatever goes wrong on the way."""

import asyncio
import json
import sqlite3
import threading
from contextlib import closing

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.e2e.crowd import Crowd, asked
from tests.e2e.system import AWAIT_S, System, until
from wire import trace
from wire.ibeacon import Beacon, encode_ad, parse_uuid
from wire.messages import Push, read
from wire.topics import edge_topic

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

STRANGER = "c2:5a:7e:01:02:03"
FOREIGN = Beacon(bytes.fromhex("f0e1d2c3b4a5968778695a4b3c2d1e0f"), 4711, 815, -59)


class Listener:
    """A client of the broker that hears one topic, and may say anything to anybody."""

    def __init__(self, port, topic):
        self.heard, self._ready = [], threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe(topic, 1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda _c, _u, message: self.heard.append(bytes(message.payload))
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._ready.wait(AWAIT_S)

    def say(self, topic, payload):
        self._client.publish(topic, payload, 1).wait_for_publish(AWAIT_S)

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


def with_a_bad_event(beacon):
    """A batch that a faulty edge might send: one event does not validate, and it names somebody."""
    times = dict.fromkeys(("observed_mono_ms", "first_mono_ms", "last_mono_ms"), 1)
    event = {"seq": 1, "kind": "enter", "beacon": beacon, **times, "rssi_dbm": f"as loud as {beacon['uuid']}"}
    clock = {"source": "none", "offset_ms": 0, "error_ms": 0, "synced": False}
    head = {"v": 1, "edge": "door", "boot": "faulty", "oldest_seq": 1, "sent_mono_ms": 1, "sent_at_ms": 0}
    return json.dumps({**head, "clock": clock, "events": [event]}).encode()


async def set_aside(system, fault, count):
    """The list of the quarantine, as an operator sees it, once it holds so many rows of this fault."""

    async def there():
        listed = await asyncio.to_thread(
            system.cli, "hub", "quarantine", "list", "--json", "--config", str(system.hub_toml)
        )
        faults = [one["fault"] for one in json.loads(listed.stdout)["items"]]
        return listed.stdout if faults.count(fault) >= count else ""

    return await until(there, f"the quarantine holds {count} of {fault}")


async def test_no_program_logs_an_identity(tmp_path):
    async with System(tmp_path, hub={"log_level": "debug"}, edge={"log_level": "debug"}) as system:
        ann, ben = [await system.enrol() for _ in range(2)]
        line = Listener(system.mqtt_port, ann["push_topic"])
        try:
            async with Crowd(system, [ann, ben]) as crowd:
                crowd.place(0, "door")
                await until(lambda: line.heard, "the push reaches the phone")
                for name in system.edges:  # other people's radio
                    system.radio.feed.send(
                        trace.Frame(t_ms=0, scanner=name, address=STRANGER, rssi_dbm=-50, adv=encode_ad(FOREIGN).hex())
                    )
                say_nonsense(line, ann["beacon"])
                listed = await set_aside(system, "theirs", 2)
                with closing(sqlite3.connect(system.home / "hub.db", timeout=AWAIT_S)) as db, db:
                    broken = json.dumps({"door": [ben["profile"]]})  # a fault of ours
                    db.execute("UPDATE visit SET edges = ?", [broken])
                crowd.place(1, "floor")
                listed += await set_aside(system, "ours", 1)
        finally:
            line.close()
        await speak_to_the_api(system, ann)
        for program in (*system.edges.values(), system.hub, system.broker):
            program.stop()
        code = read(Push, line.heard[0]).code
        hashes = [row[0] for row in asked(tmp_path / "hub.db", "SELECT code_hash FROM offer_grant")]
        hashes += [row[0] for row in asked(tmp_path / "hub.db", "SELECT value_hash FROM identity")]
        needles = [code, system.staff, STRANGER, str(FOREIGN.key.hex()), *hashes, "dc_wrong_key"]
        for one in (ann, ben):
            needles += [one["device"], one["profile"], one["key"], one["beacon"]["uuid"]]
            needles.append(parse_uuid(one["beacon"]["uuid"]).hex())
        assert all(len(needle) >= 12 for needle in needles), "too short to search for"
        texts = {name: (tmp_path / f"{name}.log").read_text("utf-8") for name in ("hub", "broker", "door", "floor")}
        for name, text in texts.items():
            for line_ in filter(None, text.splitlines()):
                assert json.loads(line_)["event"]
            assert named(text, needles) == [], name
        assert named(listed, needles) == []
        told = {json.loads(line_)["event"] for text in texts.values() for line_ in text.splitlines()}
        assert told >= {
            "a message failed and was set aside", "an ack cannot be read", "a configuration cannot be read",
        }, "what could have said too much was said"  # fmt: skip


def named(text, needles):
    """Which needles a text holds; in any case, with or without hyphens and colons."""
    plain = text.lower()
    bare = plain.replace("-", "").replace(":", "")
    return [needle for needle in needles if needle.lower() in plain or bare_of(needle) in bare]


def bare_of(needle):
    return needle.lower().replace("-", "").replace(":", "")


def test_the_search_finds_what_it_is_given():
    assert named("… C25A7E010203 …", [STRANGER]) == [STRANGER]
    assert named("… d0c41e02-0000 …", ["D0C41E020000"]) == ["D0C41E020000"]
    assert named("nothing", [STRANGER]) == []


def say_nonsense(line, beacon):
    """Whatever a broken or hostile peer might say, with somebody's beacon in it."""
    uuid = beacon["uuid"]
    line.say(edge_topic("shop", "door", "presence"), with_a_bad_event(beacon))
    line.say(edge_topic("shop", "door", "presence"), json.dumps({"v": 1, "edge": uuid, "events": [beacon]}).encode())
    line.say(edge_topic("shop", "door", "status"), json.dumps({"v": 1, "edge": "door", "boot": uuid}).encode())
    line.say(edge_topic("shop", "floor", "ack"), json.dumps({"v": 1, "boot": "b", "upto": uuid}).encode())
    line.say(edge_topic("shop", "floor", "config"), json.dumps({"v": 1, "version": uuid, "settings": {}}).encode())
    settings = {uuid: 1, "enter_dbm": uuid}
    line.say(edge_topic("shop", "floor", "config"), json.dumps({"v": 1, "version": 1, "settings": settings}).encode())


async def speak_to_the_api(system, phone):
    await system.call("GET", "/v1/me", key=phone["key"])
    for method, path, body, key in (
        ("GET", "/v1/me", None, "dc_wrong_key"),
        ("PUT", "/v1/consents", {"purposes": {phone["beacon"]["uuid"]: True}}, phone["key"]),
        ("POST", "/v1/redemptions", {"code": phone["beacon"]["uuid"]}, system.staff),
        ("GET", f"/v1/{phone['device']}/{phone['profile']}", None, system.staff),
    ):
        reply = await system.http.request(method, path, json=body, headers={"Authorization": f"Bearer {key}"})
        assert 400 <= reply.status_code < 500
