"""The real system for tests: programs as processes on free ports, a radio over a unix socket, an HTTP client."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from simulators.feed import Feed
from wire import trace
from wire.ibeacon import Beacon, encode_ad, parse_uuid

PREFIX = "d0c41e02"
CANARY = "ca9a41e5-0000-4000-8000-000000000001"
AWAIT_S = 90  # two cores, many processes: generous, and never the thing that is tested


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


async def until(ready, what, within_s=AWAIT_S):
    """Await a condition of another process, which cannot signal us; fails with `what` when it never comes."""
    deadline = time.monotonic() + within_s
    while True:
        found = ready()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"never happened: {what}"
        await asyncio.sleep(0.05)


class Program:
    """One `doorchime …` process; its output goes to a file."""

    def __init__(self, home, name, *args):
        self.args, self.log_path, self.process = args, home / f"{name}.log", None

    def start(self):
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "doorchime", *self.args], stdout=log, stderr=log, start_new_session=True
            )
        return self

    def kill(self):
        """kill -9, as the power does it."""
        self.process.kill()
        self.process.wait()

    def stop(self, within_s=15):
        if self.process is None or self.process.poll() is not None:
            return self.process and self.process.returncode
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within_s)

    @property
    def log(self):
        return self.log_path.read_text("utf-8", "replace")


class Radio:
    """Puts advertisements on the air; what nobody listens to is lost there."""

    def __init__(self, path):
        self.feed = Feed(path)

    def say(self, scanner, beacon, rssi_dbm=-55):
        adv = encode_ad(Beacon(parse_uuid(beacon["uuid"]), beacon["major"], beacon["minor"], -59)).hex()
        self.feed.send(trace.Frame(t_ms=0, scanner=scanner, address="00", rssi_dbm=rssi_dbm, adv=adv))


class System:
    """Broker, hub and edges of one store, all real."""

    def __init__(self, home: Path, database=None, edges=("door", "floor"), **settings):
        self.home, self.edges_in = home, edges
        self.mqtt_port, self.http_port = free_port(), free_port()
        self.database = database or f"sqlite:{home / 'hub.db'}"
        self.hub_toml = home / "hub.toml"
        self._write_hub(settings.pop("hub", {}))
        self.edge_settings = settings.pop("edge", {})
        self.broker = Program(home, "broker", "hub", "broker", "--port", str(self.mqtt_port))
        self.hub = Program(home, "hub", "hub", "serve", "--config", str(self.hub_toml))
        self.radio = Radio(home / "radio.sock")
        self.edges = {
            name: Program(home, name, "edge", "run", "--config", str(self._write_edge(name))) for name in edges
        }
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.http_port}", timeout=30)
        self.staff = self.app = ""

    def _write_hub(self, more):
        settings = {
            "database": self.database, "broker_url": f"mqtt://127.0.0.1:{self.mqtt_port}", "port": self.http_port,
            "secret_file": str(self.home / "secret"), "prefixes": [PREFIX], "reconnect_max_s": 1.0, **more,
        }  # fmt: skip
        self.hub_toml.write_text(to_toml(settings))

    def _write_edge(self, name):
        path = self.home / f"{name}.toml"
        state = self.home / f"{name}-state"
        state.mkdir(exist_ok=True)
        settings = {
            "edge": name, "store": "shop", "broker_url": f"mqtt://127.0.0.1:{self.mqtt_port}",
            "radio": f"replay:{self.home / 'radio.sock'}", "state_dir": str(state), "prefixes": [PREFIX],
            "canary_uuid": CANARY, "connect_spread_s": 0, "telemetry_s": 1, "exit_silence_s": 3, **self.edge_settings,
        }  # fmt: skip
        path.write_text(to_toml(settings))
        return path

    def cli(self, *args, check=True):
        done = subprocess.run(
            [sys.executable, "-m", "doorchime", *args], capture_output=True, text=True, timeout=120, check=False
        )
        assert not check or done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"
        return done

    async def __aenter__(self):
        await self.radio.feed.start()
        await self.start_broker()
        first = json.loads(self.cli("hub", "init", "--config", str(self.hub_toml), "--json").stdout)
        self.staff = first["key"]
        self.hub.start()
        await self.hub_ready()
        await self.furnish()
        for edge in self.edges.values():
            edge.start()
        async with asyncio.timeout(AWAIT_S):
            await self.radio.feed.wait_for(set(self.edges))
        return self

    async def start_broker(self):
        self.broker.start()
        await until(lambda: accepts(self.mqtt_port), "the broker listens")

    async def __aexit__(self, *_):
        for program in (*self.edges.values(), self.hub, self.broker):
            with contextlib.suppress(Exception):
                program.stop(20)
        for program in (*self.edges.values(), self.hub, self.broker):
            if program.process is not None and program.process.poll() is None:
                program.kill()
        await self.radio.feed.stop()
        await self.http.aclose()

    async def hub_ready(self):
        async def ready():
            with contextlib.suppress(httpx.TransportError):
                return (await self.http.get("/readyz")).status_code == 200
            return False

        await until(ready, "the hub is ready")

    async def call(self, method, path, body=None, key=None, **headers):
        reply = await self.http.request(
            method, path, json=body, headers={"Authorization": f"Bearer {key or self.staff}", **headers}
        )
        assert reply.is_success, f"{method} {path}: {reply.status_code} {reply.text}"
        return reply.json() if reply.content else None

    async def furnish(self):
        shop = {"name": "Shop", "tz": "UTC", "locale": "en", "currency": "EUR"}
        await self.call("PUT", "/v1/stores/shop", shop)
        for name in self.edges_in:
            kind = "door" if name == "door" else "floor"
            await self.call("PUT", f"/v1/stores/shop/zones/{name}", {"name": name, "kind": kind})
            await self.call("PUT", f"/v1/edges/{name}", {"store": "shop", "zone": name, "till": False})
        body = {
            "name": "welcome", "trigger": {"on": "enter"}, "currency": "EUR", "content": {"en": {"title": "Hello"}},
            "curve": {"kind": "linear", "start_bp": 3000, "floor_bp": 500, "life_ms": 3_600_000},
        }  # fmt: skip
        await self.call("PUT", "/v1/offers/welcome", {"state": "live", "body": body})

    async def enrol(self, consents=("presence_detection", "personalised_offers", "marketing_push")):
        """Somebody with a phone; returns the hub's answer: device, profile, key, beacon, push_topic."""
        asked = {"locale": "en", "tz": "UTC", "beacon": None, "channel": "mqtt", "address": "", "os_permission": True}
        phone = await self.call("POST", "/v1/devices", asked)
        if consents:
            notice = {"notice": "n@1", "notice_sha256": "0" * 64, "method": "app_screen"}
            await self.call("PUT", "/v1/consents", {"purposes": dict.fromkeys(consents, True), **notice}, phone["key"])
        return phone

    async def reports(self):
        return await self.call("GET", "/v1/reports")

    def audit(self):
        done = self.cli("hub", "audit", "--json", "--config", str(self.hub_toml), check=False)
        return done.returncode, json.loads(done.stdout)


def accepts(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def to_toml(settings):
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
