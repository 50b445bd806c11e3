"""Debian's mosquitto with the files that the hub writes for it, and a client that may say what no library lets us."""

import contextlib
import getpass
import queue
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from random import Random

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hub.config import HubConfig
from hub.core.authority import SERIAL_BYTES, Authority, Request, key_pem, make_authority, public_key_hex
from hub.main.broker_files import LOCAL_ACL, render
from hub.usecases.claims import Rights
from tests.e2e.system import free_port
from wire.topics import edge_topic

AWAIT_S = 30  # a loaded machine; never the thing that is tested
HOST = "127.0.0.1"
WITNESS = "witness"
LOCAL = f"user {WITNESS}\ntopic readwrite #\ntopic read $SYS/#\n"
DAY_MS = 86_400_000


def now_ms():
    return time.time_ns() // 1_000_000


def binary():
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    assert found, "mosquitto is missing: apt-get install mosquitto"
    return found


def csr(name, key=None, subject=None):
    """A certificate request, and its key."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = subject if subject is not None else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode(), key


class Ca:
    """A CA of the hub, made at `at_ms`; `person` gives key and certificate in one file."""

    def __init__(self, folder, seed=1, at_ms=None):
        self.folder, self._random = folder, Random(seed)
        folder.mkdir(parents=True, exist_ok=True)
        self.at_ms = at_ms or now_ms()
        certificate, key = make_authority(self.random(SERIAL_BYTES), self.at_ms)
        self.authority = Authority(certificate.encode(), key.encode())
        self.file = folder / "ca.pem"
        self.file.write_text(certificate)
        self.people = 0

    def random(self, count):
        return self._random.randbytes(count)

    def person(self, name, at_ms=None):
        """A file with key and client certificate for `name`, whatever the name; and the serial."""
        key = ec.generate_private_key(ec.SECP256R1())
        asked = Request(name, public_key_hex(key.public_key()))
        made = self.authority.issue_edge(asked, self.random(SERIAL_BYTES), at_ms or self.at_ms)
        self.people += 1
        path = self.folder / f"person-{self.people}.pem"
        path.write_text(key_pem(key) + made.pem)
        return path, made.serial

    def server(self, name, hosts, at_ms=None):
        """A file with key and server certificate."""
        key, made = self.authority.issue_server(hosts, self.random(SERIAL_BYTES), at_ms or self.at_ms)
        path = self.folder / f"{name}.pem"
        path.write_text(key + made.pem)
        return path


class Mosquitto:
    """mosquitto with `doorchime.conf` of a folder, on loopback; `said` is what it logs."""

    def __init__(self, folder, port):
        self.folder, self.port, self.process = folder, port, None
        self.said, self._news = [], threading.Condition()

    def start(self):
        shipped = (self.folder / "doorchime.conf").read_text("utf-8")
        listener = f"\nlistener {self.port}\n"
        assert shipped.count(listener) == 1
        config = self.folder / "test.conf"
        config.write_text(
            shipped.replace(listener, f"\nlistener {self.port} {HOST}\n")
            + f"\npersistence_location {self.folder}/\nuser {getpass.getuser()}\nlog_dest stderr\nlog_type all\n"
        )
        self.process = subprocess.Popen(
            [binary(), "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._hear, daemon=True)
        self._reader.start()
        self.wait_for(lambda: self.count(" running") or self.process.poll() is not None)
        assert self.process.poll() is None, "".join(self.said)
        return self

    def read_again(self):
        """SIGHUP, until it has read its files."""
        before = self.count("Reloading config.")
        self.process.send_signal(signal.SIGHUP)
        self.wait_for(lambda: self.count("Reloading config.") > before)

    def count(self, text):
        return sum(text in line for line in self.said)

    def wait_for(self, ready):
        with self._news:
            assert self._news.wait_for(ready, AWAIT_S), "".join(self.said[-30:])

    def stop(self, within_s=AWAIT_S):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(within_s)
        self._reader.join(within_s)
        self.process.stderr.close()

    def _hear(self):
        for line in self.process.stderr:
            with self._news:
                self.said.append(line)
                self._news.notify_all()


class Broker(Mosquitto):
    """The same, with files for `edges`, (store, edge) each, and a witness who may do everything."""

    def __init__(self, folder, edges):
        super().__init__(folder / "broker", free_port())
        self.edges, self.revoked = list(edges), []
        self.ca = Ca(folder / "ca")
        self.config = HubConfig(edge_broker_url=f"mqtts://localhost:{self.port}", broker_url=f"mqtt://{HOST}:1")
        self.folder.mkdir()
        (self.folder / LOCAL_ACL).write_text(LOCAL)

    def render(self):
        return render(
            self.folder, self.config, self.ca.authority, Rights(sorted(self.edges), self.revoked), now_ms(),
            self.ca.random, (HOST,),
        )  # fmt: skip

    def reload(self):
        """Files anew, then SIGHUP; names of those that changed."""
        changed = self.render()
        self.read_again()
        return changed


# -- MQTT by hand --------------------------------------------------------------------------------------------------


class Refused(Exception):
    """The broker would not have us."""


class Hand:
    """An MQTT client by hand, 3.1.1 (4) or 5: it sends what it is told, however wrong."""

    def __init__(self, broker, person, version=4, will=None, client_id="any"):
        context = ssl.create_default_context(cafile=broker.ca.file)
        if person is not None:
            context.load_cert_chain(person)
        self.version, self.inbox, self.closed, self.mid = version, queue.Queue(), False, 0
        self.sock = socket.create_connection((HOST, broker.port), AWAIT_S)
        try:
            self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
            self._connect(client_id, will)
        except TimeoutError:
            raise
        except OSError as exc:
            self.sock.close()
            raise Refused(str(exc)) from exc

    def _connect(self, client_id, will):
        flags, tail = 0x02, b""
        if will is not None:
            topic, payload, retain = will
            flags |= 0x04 | 0x08 | (0x20 if retain else 0)
            tail = self._props() + _text(topic) + len(payload).to_bytes(2, "big") + payload
        head = _text("MQTT") + bytes([self.version, flags]) + (600).to_bytes(2, "big") + self._props()
        self._send(0x10, head + _text(client_id) + tail)
        kind, body = self._packet()
        if kind != 0x20 or body[1] != 0:
            raise ConnectionError(f"CONNACK {body.hex()}")

    def publish(self, topic, payload, retain=False):
        """QoS 1; returns when the broker has answered, or hung up."""
        self.mid += 1
        try:
            head = _text(topic) + self.mid.to_bytes(2, "big") + self._props()
            self._send(0x32 | retain, head + payload)
            self._until(lambda kind, body: kind & 0xF0 == 0x40)
        except TimeoutError:
            raise  # neither an answer nor a refusal: something is wrong with the test
        except OSError:
            self.closed = True

    def subscribe(self, topic_filter):
        """QoS 1; returns when the broker has answered, or hung up. SUBACK is not looked at: it is no proof."""
        self.mid += 1
        try:
            self._send(0x82, self.mid.to_bytes(2, "big") + self._props() + _text(topic_filter) + b"\x01")
            self._until(lambda kind, body: kind & 0xF0 == 0x90)
        except TimeoutError:
            raise  # neither an answer nor a refusal: something is wrong with the test
        except OSError:
            self.closed = True

    def heard_until(self, fence):
        """Payloads up to the one that is `fence`; all there are when the broker has hung up."""
        if not self.closed:
            try:
                self._until(lambda kind, body: fence in list(self.inbox.queue))
            except TimeoutError:
                raise
            except OSError:
                self.closed = True
        found = list(self.inbox.queue)
        self.inbox.queue.clear()
        return found

    def die(self):
        """Send what is no packet, and await that the broker hangs up: then its last will has been dealt with.

        Not a closed socket: nothing would tell us when the broker has seen it.
        """
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            self._send(0x00, b"")
            self._until(lambda kind, body: False)
        self.closed = True
        self.sock.close()

    def drop(self):
        """Be gone."""
        self.sock.close()

    def _until(self, enough):
        while not enough(0, b""):
            kind, body = self._packet()
            if kind & 0xF0 == 0x30:
                size = int.from_bytes(body[:2], "big")
                at = 2 + size + (2 if kind & 0x06 else 0)
                if kind & 0x06:
                    self._send(0x40, body[2 + size : at])
                if self.version == 5:
                    at += 1 + body[at]
                self.inbox.put(body[at:])
            if kind & 0xF0 == 0xE0:
                raise ConnectionError("DISCONNECT")
            if enough(kind, body):
                return

    def _props(self):
        return b"\0" if self.version == 5 else b""

    def _send(self, kind, body):
        size, encoded = len(body), b""
        while True:
            encoded += bytes([size % 128 | (0x80 if size >= 128 else 0)])
            size //= 128
            if not size:
                break
        self.sock.sendall(bytes([kind]) + encoded + body)

    def _packet(self):
        kind, size, shift = self._read(1)[0], 0, 0
        while True:
            byte = self._read(1)[0]
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return kind, self._read(size)

    def _read(self, count):
        found = b""
        while len(found) < count:
            more = self.sock.recv(count - len(found))
            if not more:
                raise ConnectionError("closed")
            found += more
        return found


def _text(text):
    raw = text.encode()
    return len(raw).to_bytes(2, "big") + raw


def own(leaf, store="vienna-1", edge="edge-a"):
    return edge_topic(store, edge, leaf)
