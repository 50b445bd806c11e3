"""A Pi is enrolled as an installer does it: claim, `edge enrol`, `edge run` over mTLS on mosquitto; then stolen."""

import asyncio
import ssl

import httpx
import pytest

from edge.adapters.credentials import Credentials
from edge.adapters.renewing import renew_if_due
from edge.config import load
from tests.e2e.system import CANARY, Program, System, to_toml, until
from tests.mosquitto import DAY_MS, HOST, Mosquitto, now_ms

pytestmark = [pytest.mark.e2e, pytest.mark.mosquitto]


class Secured(System):
    """Hub with HTTPS and `broker_dir`, mosquitto with what the hub writes there, no edge yet."""

    def __init__(self, home):
        ca, port = home / "ca", "{port}"
        hub = {
            "broker_url": f"mqtts://{HOST}:{port}", "edge_broker_url": f"mqtts://localhost:{port}",
            "ca_dir": str(ca), "broker_ca_file": str(ca / "ca.pem"), "broker_cert_file": str(ca / "hub.pem"),
            "broker_dir": str(home / "broker"), "tls_cert_file": str(home / "api.pem"),
        }  # fmt: skip
        super().__init__(home, edges=(), hub=hub)
        self.hub_toml.write_text(self.hub_toml.read_text().replace("{port}", str(self.mqtt_port)))
        self.broker = Mosquitto(home / "broker", self.mqtt_port)

    async def start_broker(self):
        settings = ("--config", str(self.hub_toml))
        self.cli("hub", "ca", "init", *settings)
        self.cli("hub", "ca", "issue", "localhost", HOST, "--out", str(self.home / "api.pem"), *settings)
        self.cli("hub", "broker-config", "--out", str(self.home / "broker"), *settings)
        self.broker.start()
        trusted = ssl.create_default_context(cafile=self.home / "ca" / "ca.pem")
        await self.http.aclose()
        self.http = httpx.AsyncClient(base_url=f"https://localhost:{self.http_port}", verify=trusted, timeout=30)

    async def broker_learns(self, count):
        """Until the hub has written the broker's files for the `count`th time, which a watcher then has it read."""
        await until(lambda: self.hub.log.count("broker_files_written") >= count, "the hub writes the broker's files")
        self.broker.read_again()

    def enrol_edge(self, claim, fingerprint, check=True):
        return self.cli(
            "edge", "enrol", "--hub", f"https://localhost:{self.http_port}", "--claim", claim,
            "--ca-fingerprint", fingerprint, "--config", str(self.home / "edge.toml"), check=check,
        )  # fmt: skip

    def edge(self):
        return Program(self.home, "edge", "edge", "run", "--config", str(self.home / "edge.toml"))

    def write_edge_settings(self):
        """What the installer writes: where the radio is, and nothing of names, brokers or prefixes."""
        (self.home / "edge.toml").write_text(
            to_toml(
                {
                    "radio": f"replay:{self.home / 'radio.sock'}", "state_dir": str(self.home / "state"),
                    "canary_uuid": CANARY, "connect_spread_s": 0, "reconnect_max_s": 1,
                }
            )
        )  # fmt: skip

    async def committed(self):
        return sum(edge["committed"] for edge in (await self.reports())["edges"])


async def test_from_the_claim_to_the_committed_event_and_out_again(tmp_path):
    async with Secured(tmp_path) as system:
        system.write_edge_settings()
        wanted = {"edge": "edge-door", "store": "shop"}
        made = await system.call("POST", "/v1/edges", wanted)
        await system.broker_learns(1)

        refused = system.enrol_edge(made["claim"], "0" * 64, check=False)
        assert refused.returncode == 1
        assert "The claim was not sent" in refused.stderr
        said = system.enrol_edge(made["claim"], made["ca_fingerprint"]).stdout
        assert "edge edge-door in store shop" in said
        again = system.enrol_edge(made["claim"], made["ca_fingerprint"], check=False)
        assert "has been used" in again.stderr
        kept = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "state").iterdir()}
        assert kept == {"edge.pem": 0o600, "hub-ca.pem": 0o600, "enrolled.toml": 0o600, "next.key": 0o600}

        config = load(tmp_path / "edge.toml")
        assert not renew_if_due(config, now_ms() + 59 * DAY_MS)
        before = Credentials(config.state_dir).life()
        assert await asyncio.to_thread(renew_if_due, config, now_ms() + 61 * DAY_MS)
        assert Credentials(config.state_dir).life().serial != before.serial

        phone = await system.enrol()
        edge = system.edge().start()
        try:
            await system.radio.feed.wait_for({"edge-door"})

            async def heard():
                system.radio.say("edge-door", phone["beacon"])
                return await system.committed()

            await until(heard, "an event is committed")
            assert system.audit() == (0, {"invariant_violations": 0, "violations": []})

            await system.call("DELETE", "/v1/edges/edge-door/credentials")
            await system.broker_learns(2)
            edge.kill()
            edge = system.edge().start()
            await until(lambda: "our certificate has been revoked" in edge.log, "the edge says why it is out")
        finally:
            edge.stop()
        secret = made["claim"].rpartition("_")[2]
        assert secret not in system.hub.log + edge.log
        assert "PRIVATE" not in system.hub.log + edge.log
