"""Who may connect, on a real broker: every refusal has a line in our log that says why."""

import logging
import queue
import threading
from collections import Counter

import pytest

from edge.adapters.publisher import LineSettings, Listener, Publisher
from edge.adapters.tls import TlsFiles, make_context
from hub.core.authority import EDGE_DAYS, HUB_NAME, SERVER_DAYS
from hub.intake.mqtt import LinkSettings, MqttLink
from hub.intake.tls import TlsFiles as HubTlsFiles
from tests.mosquitto import AWAIT_S, DAY_MS, HOST, WITNESS, Broker, Ca, Hand, Refused, now_ms, own
from wire.errors import BadConfig
from wire.messages import Status

pytestmark = pytest.mark.mosquitto

STATUS = Status(v=1, edge="edge-a", boot="b1", state="online", version="0")


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    found = Broker(tmp_path_factory.mktemp("tls"), [("vienna-1", "edge-a"), ("vienna-1", "edge-b")])
    found.render()
    found.start()
    yield found
    found.stop()


class News(logging.Handler):
    """What the edge logs, as it comes."""

    def __init__(self):
        super().__init__()
        self.lines = queue.Queue()

    def emit(self, record):
        self.lines.put(getattr(record, "fields", {}))


@pytest.fixture
def log():
    news, logger = News(), logging.getLogger("edge")
    logger.addHandler(news)
    yield news
    logger.removeHandler(news)


@pytest.fixture
def edges():
    """Lines of edges to a broker, stopped after the test."""
    made = []

    def edge(broker, person, ca=None, host="localhost"):
        files = TlsFiles(ca or broker.ca.file, person, None)
        settings = LineSettings(host, broker.port, None, None, 0.0, 0.2, files)
        connected = threading.Event()
        listener = Listener(connected.set, lambda: None, lambda leaf, payload: None)
        made.append(Publisher(settings, "vienna-1", "edge-a", STATUS, listener, lambda: 0.5, lambda: 0))
        made[-1].start()
        return made[-1], connected

    yield edge
    for one in made:
        one.stop()


def test_an_edge_and_the_hub_speak_over_client_certificates(broker, edges):
    heard = queue.Queue()
    hub = MqttLink(
        LinkSettings(
            HOST, broker.port, HUB_NAME, reconnect_max_s=0.5,
            tls=HubTlsFiles(broker.ca.file, broker.ca.person(HUB_NAME)[0], None),
        ),
        lambda message: heard.put(message) or True, lambda: 0, lambda: 0.5,
    )  # fmt: skip
    hub.start()
    try:
        edge, connected = edges(broker, broker.ca.person("edge-a")[0])
        assert connected.wait(AWAIT_S)
        assert heard.get(timeout=AWAIT_S).leaf == "status"
        assert edge.send("presence", b"{}")
        assert heard.get(timeout=AWAIT_S).leaf == "presence"
    finally:
        hub.stop(5)


def refusal(log):
    return log.lines.get(timeout=AWAIT_S)


def test_an_expired_certificate_is_refused_and_both_logs_say_so(broker, edges, log):
    person, _ = broker.ca.person("edge-a", at_ms=now_ms() - (EDGE_DAYS + 1) * DAY_MS)
    before = broker.count("certificate verify failed")
    _, connected = edges(broker, person)
    found = refusal(log)
    assert found == {"fault": "expired", "reason": "localhost refused us: our certificate has expired: enrol again"}
    broker.wait_for(lambda: broker.count("certificate verify failed") > before)
    assert not connected.is_set()


def test_a_stranger_is_refused(broker, edges, log, tmp_path):
    _, connected = edges(broker, None)
    assert refusal(log)["fault"] == "no_certificate"
    other = Ca(tmp_path / "other", seed=2)
    _, connected_too = edges(broker, other.person("edge-a")[0])
    assert refusal(log)["fault"] in ("not_theirs", "bad_certificate")
    assert not connected.is_set()
    assert not connected_too.is_set()
    for version in (4, 5):
        with pytest.raises(Refused):
            Hand(broker, None, version=version)


def test_a_broker_of_another_ca_is_not_trusted(broker, edges, log, tmp_path):
    _, connected = edges(broker, broker.ca.person("edge-a")[0], ca=Ca(tmp_path / "other", seed=2).file)
    found = refusal(log)
    assert found["fault"] == "unknown_ca"
    assert "is not signed by the CA in" in found["reason"]
    assert not connected.is_set()


def test_a_broker_by_another_name_is_not_trusted(tmp_path, edges, log):
    broker = Broker(tmp_path, [("vienna-1", "edge-a")])
    broker.render()
    elsewhere = broker.ca.server("elsewhere", ["broker.example"]).read_text()
    replace_server(broker, elsewhere)
    try:
        _, connected = edges(broker, broker.ca.person("edge-a")[0])
        found = refusal(log)
        assert found["fault"] == "wrong_host"
        assert "another host name than localhost" in found["reason"]
        assert not connected.is_set()
    finally:
        broker.stop()


def test_an_expired_broker_is_not_trusted(tmp_path, edges, log):
    broker = Broker(tmp_path, [("vienna-1", "edge-a")])
    broker.render()
    old = now_ms() - (SERVER_DAYS + 1) * DAY_MS
    replace_server(broker, broker.ca.server("old", ["localhost", HOST], at_ms=old).read_text())
    try:
        _, connected = edges(broker, broker.ca.person("edge-a")[0])
        assert refusal(log) == {
            "fault": "server_expired", "reason": "the certificate of localhost has expired: renew it there",
        }  # fmt: skip
        assert not connected.is_set()
    finally:
        broker.stop()


def replace_server(broker, text):
    key, mark, certificate = text.partition("-----BEGIN CERTIFICATE-----")
    (broker.folder / "broker.key").write_text(key)
    (broker.folder / "broker.pem").write_text(mark + certificate)
    broker.start()


def test_a_port_without_tls_is_named(edges, log, tmp_path):
    broker = Broker(tmp_path, [])
    broker.render()
    settings = broker.folder / "doorchime.conf"
    lines = settings.read_text().splitlines()
    plain = [line for line in lines if line.split(" ")[0] not in PLAIN_WITHOUT]
    settings.write_text("\n".join([*plain, "allow_anonymous true"]) + "\n")
    broker.start()
    try:
        edges(broker, broker.ca.person("edge-a")[0])
        assert refusal(log)["fault"] == "no_tls"
    finally:
        broker.stop()


PLAIN_WITHOUT = {
    "cafile", "certfile", "keyfile", "crlfile", "tls_version", "require_certificate", "use_identity_as_username",
    "use_username_as_clientid", "allow_anonymous", "acl_file",
}  # fmt: skip


def test_a_missing_file_is_named_before_anything_starts(tmp_path):
    with pytest.raises(BadConfig, match="broker_ca_file"):
        make_context(TlsFiles(tmp_path / "none.pem", None, None))
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(BadConfig, match=r"broker_cert_file.*in PEM"):
        make_context(TlsFiles(None, tmp_path / "empty.pem", None))


# -- revocation ----------------------------------------------------------------------------------------------------


def test_a_revoked_certificate_is_refused_after_the_reload_and_the_session_it_has_can_do_nothing(tmp_path, edges, log):
    broker = Broker(tmp_path, [("vienna-1", "edge-a"), ("vienna-1", "edge-b")])
    broker.render()
    broker.start()
    try:
        person, serial = broker.ca.person("edge-a")
        witness, other = Hand(broker, broker.ca.person(WITNESS)[0]), Hand(broker, broker.ca.person("edge-b")[0])
        witness.subscribe("#")
        live = Hand(broker, person, will=(own("status"), b"will", False))
        live.subscribe(own("config"))
        live.publish(own("presence"), b"before")
        witness.heard_until(b"before")

        broker.edges, broker.revoked = [("vienna-1", "edge-b")], [(serial, now_ms())]
        assert set(broker.reload()) == {"crl.pem", "doorchime.acl"}

        with pytest.raises(Refused):
            Hand(broker, person)
        _, connected = edges(broker, person)
        found = refusal(log)
        assert (found["fault"], found["reason"].partition(": ")[2]) == (
            "revoked", "our certificate has been revoked: enrol again",
        )  # fmt: skip
        assert not connected.is_set()

        live.publish(own("presence"), b"after")
        witness.publish(own("config"), b"secret")
        live.die()
        other.publish(own("presence", edge="edge-b"), b"others go on")
        assert witness.heard_until(b"others go on") == [b"secret", b"others go on"]
        assert b"secret" not in live.heard_until(b"secret")
        witness.drop()
        other.drop()
    finally:
        broker.stop()


def test_who_is_enrolled_anew_throws_out_whoever_has_the_old_certificate(tmp_path):
    broker = Broker(tmp_path, [("vienna-1", "edge-a")])
    broker.render()
    broker.start()
    try:
        stolen, serial = broker.ca.person("edge-a")
        thief = Hand(broker, stolen)
        fresh, _ = broker.ca.person("edge-a")
        broker.revoked = [(serial, now_ms())]
        assert broker.reload() == ["crl.pem"]
        rightful = Hand(broker, fresh)  # the session is named after the user: there is one
        thief.publish(own("presence"), b"stolen")
        assert thief.closed
        with pytest.raises(Refused):
            Hand(broker, stolen)
        rightful.publish(own("presence"), b"mine")
        assert not rightful.closed
        rightful.drop()
        thief.drop()
    finally:
        broker.stop()


def test_the_files_change_only_when_something_changed(tmp_path):
    broker = Broker(tmp_path, [("vienna-1", "edge-a")])
    assert Counter(broker.render()) == Counter(
        ["ca.pem", "broker.key", "broker.pem", "crl.pem", "doorchime.acl", "doorchime.conf"]
    )
    assert broker.render() == []
    assert (broker.folder / "broker.key").stat().st_mode & 0o777 == 0o640
    broker.edges.append(("vienna-1", "edge-b"))
    assert broker.render() == ["doorchime.acl"]
    broker.revoked.append(("ab12", now_ms()))
    assert broker.render() == ["crl.pem"]
    (broker.folder / "broker.pem").write_text("damaged")
    assert broker.render() == ["broker.key", "broker.pem"]
    assert not list(broker.folder.glob("*.new"))
