"""Listeners of another make on the real system: an ESP32 and a gateway speak, a phone gets its offer."""

import json
import queue
import subprocess
import sys

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.e2e.system import AWAIT_S, System, until
from wire import messages

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

HUB = {"foreign_topics": ["espresense", "theengs"]}


class Esp32:
    """Speaks as an ESPresense node does: birth and last will retained, reports QoS 0, telemetry now and then."""

    def __init__(self, system, room="shelf"):
        self.room = room
        self._ready = queue.Queue()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"ESPresense-{room}")
        self._client.will_set(f"espresense/rooms/{room}/status", b"offline", 0, True)
        self._client.on_connect = lambda *_: self._ready.put(None)
        self._client.connect("127.0.0.1", system.mqtt_port)
        self._client.loop_start()
        self._ready.get(timeout=AWAIT_S)
        self._say(f"espresense/rooms/{room}/status", b"online", retain=True)

    def report(self, beacon, rssi_dbm=-61.5):
        device = f"iBeacon:{beacon['uuid']}-{beacon['major']}-{beacon['minor']}"
        body = {"mac": "a1b2c3d4e5f6", "id": device, "rssi@1m": -59, "rssi": rssi_dbm, "rxAdj": 0, "distance": 1.2,
                "var": 0.1, "close": False, "int": 312}  # fmt: skip
        self._say(f"espresense/devices/{device}/{self.room}", json.dumps(body).encode())

    def mutter(self):
        """Of others, and of itself."""
        self._say(f"espresense/devices/apple:1005:9-26/{self.room}", b'{"mac":"c2aabbccddee","rssi":-70.00}')
        self._say(f"espresense/rooms/{self.room}/telemetry", b'{"uptime":99}')

    def unplug(self):
        """No goodbye: the broker speaks its last will."""
        self._client.loop_stop()
        self._client.socket().close()

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()

    def _say(self, topic, payload, retain=False):
        self._client.publish(topic, payload, 0, retain)


class Phone:
    """Waits for pushes."""

    def __init__(self, system, enrolled):
        self.pushes = queue.Queue()
        subscribed = queue.Queue()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe(enrolled["push_topic"], 1)
        self._client.on_subscribe = lambda *_: subscribed.put(None)
        self._client.on_message = lambda _c, _u, message: self.pushes.put(message.payload)
        self._client.connect("127.0.0.1", system.mqtt_port)
        self._client.loop_start()
        subscribed.get(timeout=AWAIT_S)

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


async def enrol_nodes(system):
    await system.call("PUT", "/v1/stores/shop", {"name": "Shop", "tz": "UTC", "locale": "en", "currency": "EUR"})
    await system.call("PUT", "/v1/stores/shop/zones/shelf", {"name": "Shelf", "kind": "floor"})
    for edge, kind, node in (("esp-shelf", "espresense", "shelf"), ("gw", "theengs", "home/gw-1")):
        body = {"store": "shop", "zone": "shelf", "source": {"kind": kind, "node": node}}
        await system.call("PUT", f"/v1/edges/{edge}", body)


async def edge_of(system, name="esp-shelf"):
    return next(row for row in (await system.reports())["edges"] if row["edge"] == name)


async def committed(system, count):
    async def there():
        return (await edge_of(system))["committed"] >= count

    await until(there, f"{count} reports committed")


async def visits(system):
    return (await system.call("GET", "/v1/visits"))["items"]


async def test_an_esp32_on_the_shelf_leads_to_a_visit_a_decision_and_a_push(tmp_path):
    async with System(tmp_path, edges=(), hub=HUB) as system:
        await enrol_nodes(system)
        guest = await system.enrol()
        refuser = await system.enrol(consents=())
        phone, node = Phone(system, guest), Esp32(system)
        try:
            for number in range(2):
                node.mutter()
                node.report(refuser["beacon"])
                node.report(guest["beacon"])
                await committed(system, number + 1)
            push = messages.read(messages.Push, phone.pushes.get(timeout=AWAIT_S))
            (visit,) = await visits(system)
            assert (visit["profile"], visit["state"], visit["zone"]) == (guest["profile"], "present", "shelf")
            (decision,) = (await system.call("GET", "/v1/decisions"))["items"]
            assert (decision["grant"], decision["visit"]) == (push.grant, visit["visit"])
            row = await edge_of(system)
            assert (row["source"], row["status"]) == ("espresense", "online")
            assert row["upto"] == row["committed"] + row["consent_refused"] == 4
            metrics = (await system.http.get("/metrics")).text
            assert "doorchime_foreign_not_ours_total 2.0" in metrics
            assert "doorchime_foreign_signs_total 2.0" in metrics

            node.unplug()

            async def unknown():
                return [one["state"] for one in await visits(system)] == ["unknown"]

            await until(unknown, "the last will makes the guest unknown, not gone")
            assert (await edge_of(system))["status"] == "offline"
        finally:
            phone.close()
            node.close()
        assert phone.pushes.empty()
        code, found = system.audit()
        assert code == 0, found
        assert "c2aabbccddee" not in system.hub.log
        assert "a1b2c3d4e5f6" not in system.hub.log


async def test_a_killed_hub_remembers_whom_a_node_hears_and_sends_nobody_away(tmp_path):
    async with System(tmp_path, edges=(), hub=HUB) as system:
        await enrol_nodes(system)
        guest = await system.enrol()
        node = Esp32(system)
        try:
            for number in range(2):
                node.report(guest["beacon"])
                await committed(system, number + 1)
            before = await visits(system)
            system.hub.kill()
            system.hub.start()
            await system.hub_ready()
            node.mutter()
            node.report(guest["beacon"])
            await committed(system, 3)
            (after,) = await visits(system)
            assert (after["visit"], after["state"]) == (before[0]["visit"], "present")
            assert sum((await system.reports())["grants"].values()) == 1
        finally:
            node.close()
        code, found = system.audit()
        assert code == 0, found


async def test_a_gateway_of_the_theengs_family_is_heard_and_a_stranger_is_named(tmp_path):
    async with System(tmp_path, edges=(), hub=HUB) as system:
        await enrol_nodes(system)
        beacon = (await system.enrol())["beacon"]
        body = {"id": "C2:AA:BB:CC:DD:EE", "rssi": -60, "model_id": "IBEACON", "mfid": "4c00", "major": beacon["major"],
                "minor": beacon["minor"], "uuid": beacon["uuid"].replace("-", "")}  # fmt: skip
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", system.mqtt_port)
        client.loop_start()
        try:
            for gateway in ("cellar", "gw-1", "gw-1", "gw-1"):
                topic = f"home/{gateway}/BTtoMQTT/{body['id'].replace(':', '')}"
                client.publish(topic, json.dumps(body)).wait_for_publish(AWAIT_S)

            async def there():
                return [one["state"] for one in await visits(system)] == ["present"]

            await until(there, "three reports make a visit")
        finally:
            client.disconnect()
            client.loop_stop()
        assert (await edge_of(system, "gw"))["committed"] == 3
        listed = system.cli("hub", "quarantine", "list", "--config", str(system.hub_toml)).stdout
        assert "theengs:home/cellar" in listed
        assert "PUT /v1/edges" in listed
        code, found = system.audit()
        assert code == 0, found


def test_a_sparse_recording_is_played_through_listeners_of_another_make(tmp_path):
    scanners = [{"id": f"S{n}", "zone": f"z{n}"} for n in range(3)]
    header = {"trace": 1, "name": "sparse", "source": "made here", "licence": "none", "rate_hz": None,
              "zones": ["z0", "z1", "z2"], "scanners": scanners, "beacons": ["tag"]}  # fmt: skip
    lines = [header, {"t_ms": 0, "beacon": "tag", "truth": "z0"}]
    for step in range(30):
        near = step // 10
        for n in range(3):
            lines.append({"t_ms": 6_000 * step + n, "scanner": f"S{n}", "beacon": "tag",
                          "rssi_dbm": -60 - 15 * abs(n - near)})  # fmt: skip
    trace, report = tmp_path / "sparse.trace.jsonl", tmp_path / "report.json"
    trace.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = subprocess.run(
        [sys.executable, "-m", "doorchime", "demo", "--headless", "--speed", "20", "--trace", str(trace),
         "--report", str(report)],
        capture_output=True, text=True, timeout=360, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text())
    assert "A sparse recording" in done.stdout
    assert found["visits"] == found["pushes_delivered"] == found["redemptions"] == 1
    assert 0 < found["events_published"] <= found["reports_sent"]
    assert found["events_committed"] >= 80, "90 reports of the tag, QoS 0"
    assert found["adverts_dropped_private"] > 0
    assert found["consent_refused"] > 0
    assert found["invariant_violations"] == 0
