"""Enrolment at the edge, against hubs that lie, stumble or are somebody else."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from edge.adapters.credentials import CERTIFICATE_FILE, NEXT_KEY_FILE, Credentials, fingerprint
from edge.adapters.enrolment import Hub, HubRefused, edge_of, enrol
from edge.adapters.renewing import renew_if_due, renews
from edge.config import ENROLLED_FILE, load
from edge.main import app
from hub.core.authority import SERIAL_BYTES, read_request
from tests.mosquitto import DAY_MS, Ca, csr, now_ms
from wire.errors import BadConfig, BadMessage

CLAIM = "dce_edge-door_0123_" + "a" * 39


class FakeHub:
    """An API that answers as it is told: `answer(path, body)` gives status and body, text or JSON."""

    def __init__(self, ca):
        self.ca, self.asked = ca, []
        self.answer = self.honest
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def respond(self, body):
                outer.asked.append((self.path, body))
                status, found = outer.answer(self.path, body)
                text = found if isinstance(found, str) else json.dumps(found)
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.send_header("Location", "/elsewhere")
                self.end_headers()
                self.wfile.write(text.encode())

            def do_GET(self):
                self.respond(None)

            def do_POST(self):
                self.respond(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def honest(self, path, body, **lies):
        if path == "/v1/ca":
            return 200, {"certificate": self.ca.authority.pem}
        request = read_request(lies.pop("csr", body["csr"]))
        made = lies.pop("ca", self.ca).authority.issue_edge(request, self.ca.random(SERIAL_BYTES), now_ms())
        answer = {
            "edge": request.name, "store": "vienna-1", "certificate": made.pem, "ca": self.ca.authority.pem,
            "broker_url": "mqtts://broker.shop:8883", "prefixes": ["d0c41e02"], "not_after_ms": 0,
        }  # fmt: skip
        return 201, answer | lies

    def lying(self, **lies):
        self.answer = lambda path, body: self.honest(path, body, **({} if body is None else dict(lies)))

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def hub(tmp_path):
    found = FakeHub(Ca(tmp_path / "ca"))
    yield found
    found.close()


@pytest.fixture
def credentials(tmp_path):
    return Credentials(tmp_path / "state")


def enrolled(credentials, hub):
    return enrol(credentials, Hub(hub.url), CLAIM, hub.ca.authority.fingerprint)


def settings(credentials, **more):
    path = credentials.folder / "edge.toml"
    lines = {"state_dir": str(credentials.folder), "radio": "replay:x", **more}
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items()))
    return path


def test_what_the_hub_said_is_all_that_edge_run_needs(credentials, hub):
    granted = enrolled(credentials, hub)
    config = load(settings(credentials))
    assert (config.edge, config.store, config.prefixes) == ("edge-door", "vienna-1", ["d0c41e02"])
    assert (config.broker_url, config.hub_url) == (granted.broker_url, hub.url)
    assert config.broker_cert_file == credentials.certificate_file
    assert renews(config)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in credentials.folder.iterdir() if path.suffix != ".toml")
    assert (credentials.folder / ENROLLED_FILE).stat().st_mode & 0o777 == 0o600
    assert not (credentials.folder / NEXT_KEY_FILE).exists()


def test_settings_of_ones_own_go_before_but_not_another_name(credentials, hub):
    enrolled(credentials, hub)
    config = load(settings(credentials, broker_url="mqtts://other.shop:8883", edge="edge-door"))
    assert config.broker_host == "other.shop"
    with pytest.raises(BadConfig, match="enrolled as edge-door"):
        load(settings(credentials, edge="edge-till"))
    with pytest.raises(BadConfig, match="mqtts://"):
        load(settings(credentials, broker_url="mqtt://other.shop"))


def test_another_ca_than_the_fingerprint_gets_no_claim(credentials, hub):
    with pytest.raises(BadMessage, match="The claim was not sent"):
        enrol(credentials, Hub(hub.url), CLAIM, "0" * 64)
    assert [path for path, _ in hub.asked] == ["/v1/ca"]


def other_csr(name="edge-door"):
    return csr(name)[0]


@pytest.mark.parametrize(
    ("lies", "hint"),
    [
        ({"csr": other_csr()}, "another key"),
        ({"edge": "edge-till"}, "another edge"),
        ({"broker_url": "mqtt://broker.shop:1883"}, "without TLS"),
        ({"certificate": "none"}, "did not sign"),
        ({"edge": "Edge!"}, "address right"),
        ({"prefixes": "all"}, "address right"),
    ],
)
def test_a_hub_that_lies_changes_nothing(credentials, hub, lies, hint):
    enrolled(credentials, hub)
    before = {path.name: path.read_bytes() for path in credentials.folder.iterdir()}
    hub.lying(**lies)
    with pytest.raises(BadMessage, match=hint):
        enrolled(credentials, hub)
    after = {path.name: path.read_bytes() for path in credentials.folder.iterdir() if path.name != NEXT_KEY_FILE}
    assert after == before


def test_a_certificate_of_another_ca_is_not_kept(credentials, hub, tmp_path):
    hub.lying(ca=Ca(tmp_path / "other", seed=2))
    with pytest.raises(BadMessage, match="did not sign"):
        enrolled(credentials, hub)
    assert not credentials.certificate_file.exists()


@pytest.mark.parametrize("answer", ["", "<html>", "[]", "null", '{"edge": "edge-door"}', "x" * 100_000])
def test_who_is_no_hub_is_told_apart(credentials, hub, answer):
    hub.answer = lambda path, body: (200, answer)
    with pytest.raises(BadMessage, match="address right"):
        enrol(credentials, Hub(hub.url), CLAIM, None)


@pytest.mark.parametrize("status", [302, 409, 500, 503])
def test_a_refusal_is_passed_on_in_the_hubs_words_and_no_redirect_is_followed(credentials, hub, status):
    hub.answer = lambda path, body: (status, {"detail": "This claim has been used."})
    with pytest.raises(HubRefused, match=r"This claim has been used\.") as caught:
        enrol(credentials, Hub(hub.url), CLAIM, None)
    assert caught.value.status == status
    assert len(hub.asked) == 1


def test_a_hub_that_is_not_there_is_named(credentials, hub):
    hub.close()
    hub.server.socket.close()
    with pytest.raises(BadConfig, match=r"Connection refused"):
        enrol(credentials, Hub(hub.url), CLAIM, None)
    hub.server.shutdown = hub.server.server_close = lambda: None


def test_a_folder_that_cannot_be_written_keeps_the_claim_unspent(tmp_path, hub):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadConfig, match="as the user of the edge"):
        enrolled(Credentials(tmp_path / "file"), hub)
    assert hub.asked == []


@pytest.mark.parametrize("text", ["", "x", "dce_Edge_1_2", "dce_a_b", "dc_a_b_c", "dce_+_b_c"])
def test_what_is_no_claim_is_not_sent(text):
    with pytest.raises(BadConfig, match="copy it whole"):
        edge_of(text)


@pytest.mark.parametrize(
    "url", ["", "hub.shop", "ftp://hub.shop", "https://", "https://h:0", "https://h:x", "https://h/?a=b"]
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(BadConfig, match="https://host"):
        Hub(url)


# -- renewal -------------------------------------------------------------------------------------------------------


def renewal(credentials, days=61):
    return renew_if_due(load(settings(credentials)), now_ms() + days * DAY_MS)


def test_it_is_renewed_in_its_last_third_and_not_before(credentials, hub):
    enrolled(credentials, hub)
    before = credentials.life()
    assert not renewal(credentials, days=59)
    assert renewal(credentials)
    assert credentials.life().serial != before.serial
    path, body = hub.asked[-1]
    assert path == "/v1/edges/edge-door/credentials"
    assert body["serial"] == before.serial


def test_a_lost_answer_is_asked_for_again_with_the_same_key(credentials, hub):
    enrolled(credentials, hub)
    before = (credentials.folder / CERTIFICATE_FILE).read_bytes()
    hub.answer = lambda path, body: (503, {"detail": "busy"})
    assert not renewal(credentials)
    assert not renewal(credentials)
    keys = {read_request(body["csr"]).public_key for path, body in hub.asked[-2:]}
    assert len(keys) == 1
    assert (credentials.folder / CERTIFICATE_FILE).read_bytes() == before
    hub.answer = hub.honest
    assert renewal(credentials)
    assert read_request(hub.asked[-1][1]["csr"]).public_key in keys


def test_another_ca_or_another_store_at_renewal_is_not_believed(credentials, hub, tmp_path):
    enrolled(credentials, hub)
    hub.lying(store="graz-1")
    assert not renewal(credentials)
    mine, hub.ca = hub.ca, Ca(tmp_path / "other", seed=2)
    hub.answer = hub.honest
    assert not renewal(credentials)
    assert credentials.ca_pem() == mine.authority.pem
    assert fingerprint(credentials.ca_pem()) == mine.authority.fingerprint


def test_a_damaged_certificate_is_told_and_nothing_dies(credentials, hub):
    enrolled(credentials, hub)
    credentials.certificate_file.write_text("rust")
    assert not renewal(credentials)
    with pytest.raises(BadConfig, match="enrol this edge again"):
        credentials.life()


def test_a_damaged_next_key_is_made_anew(credentials):
    credentials.next_key()
    (credentials.folder / NEXT_KEY_FILE).write_text("rust")
    assert isinstance(credentials.next_key(), ec.EllipticCurvePrivateKey)


# -- the command ---------------------------------------------------------------------------------------------------


def test_the_command_sends_no_claim_in_clear_to_another_machine(tmp_path):
    said = CliRunner().invoke(app, ["enrol", "--hub", "http://192.0.2.1:8080", "--claim", CLAIM])
    assert said.exit_code == 1
    assert "--plain-http" in said.output


def test_the_command_reads_the_claim_from_standard_input(credentials, hub, tmp_path):
    path = tmp_path / "edge.toml"
    path.write_text(f'state_dir = "{credentials.folder}"\n')
    dotted = ":".join(hub.ca.authority.fingerprint[at : at + 2] for at in range(0, 64, 2)).upper()
    options = ["--hub", hub.url, "--claim", "-", "--ca-fingerprint", dotted, "--config", str(path)]
    said = CliRunner().invoke(app, ["enrol", *options], input=CLAIM + "\n")
    assert said.exit_code == 0, said.output
    assert "edge edge-door in store vienna-1" in said.output
    assert credentials.life().not_after_ms > now_ms()
