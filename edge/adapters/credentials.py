"""What an edge proves itself with, on disk: its key, which never leaves this machine, and its certificate.

Key and certificate stand in one file, so that both change in the same moment. Everything is 0600, written whole.
"""

import base64
import json
import os
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge.config import ENROLLED_FILE
from wire.enrolment import renewal_text
from wire.errors import BadConfig, BadMessage

CERTIFICATE_FILE, CA_FILE, NEXT_KEY_FILE = "edge.pem", "hub-ca.pem", "next.key"
"""In `state_dir`: key and certificate; the hub's CA; the key that a certificate has been asked for."""


class Granted(NamedTuple):
    """What the hub answered. PEM; `broker_url` is `mqtts://…`."""

    edge: str
    store: str
    certificate: str
    ca: str
    broker_url: str
    prefixes: list[str]


class Life(NamedTuple):
    """A certificate's serial (hexadecimal) and life, Unix ms."""

    serial: str
    not_before_ms: int
    not_after_ms: int


class Credentials:
    """The files of one edge in its `state_dir`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate_file = folder / CERTIFICATE_FILE

    def next_key(self) -> ec.EllipticCurvePrivateKey:
        """The key to ask a certificate for; kept until the answer is stored, so that a lost answer can be had again.

        Raises:
            BadConfig: it can be neither read nor written.
        """
        path = self.folder / NEXT_KEY_FILE
        try:
            if path.exists():
                return _read_key(path.read_bytes())
        except (OSError, ValueError):
            pass  # made anew; whatever it was for must be asked for again
        key = ec.generate_private_key(ec.SECP256R1())
        self._write(path, _key_pem(key))
        return key

    def drop_next_key(self) -> None:
        """Forget the key of an earlier attempt: a new claim is a new beginning."""
        try:
            (self.folder / NEXT_KEY_FILE).unlink(missing_ok=True)
        except OSError as exc:
            raise BadConfig(f"{self.folder}: {exc.strerror}; run this as the user of the edge, or as root") from exc

    def life(self) -> Life:
        """Of the present certificate.

        Raises:
            BadConfig: it cannot be read.
        """
        certificate, _ = self._present()
        after, before = certificate.not_valid_after_utc, certificate.not_valid_before_utc
        return Life(f"{certificate.serial_number:x}", int(before.timestamp() * 1000), int(after.timestamp() * 1000))

    def sign_renewal(self, edge: str, csr: str) -> str:
        """Proof that we hold the present key: base64 of the DER signature.

        Raises:
            BadConfig: the present certificate or key cannot be read.
        """
        _, key = self._present()
        return base64.b64encode(key.sign(renewal_text(edge, csr), ec.ECDSA(hashes.SHA256()))).decode()

    def ca_pem(self) -> str | None:
        """The hub's CA, if this edge is enrolled."""
        try:
            return (self.folder / CA_FILE).read_text("ascii")
        except (OSError, UnicodeDecodeError):
            return None

    def store(self, granted: Granted, key: ec.EllipticCurvePrivateKey, hub_url: str) -> None:
        """Keep what the hub granted, after a look whether it is what we asked for.

        Raises:
            BadMessage: it is not.
            BadConfig: it cannot be written.
        """
        check(granted, key)
        self._write(self.folder / CA_FILE, granted.ca)
        self._write(self.certificate_file, _key_pem(key) + granted.certificate)
        said = {
            "edge": granted.edge, "store": granted.store, "broker_url": granted.broker_url, "hub_url": hub_url,
            "broker_ca_file": str(self.folder / CA_FILE), "broker_cert_file": str(self.certificate_file),
            "prefixes": granted.prefixes,
        }  # fmt: skip
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in said.items() if value]
        text = "# From the hub, by `doorchime edge enrol`. Your settings file goes before.\n" + "".join(lines)
        self._write(self.folder / ENROLLED_FILE, text)
        self.drop_next_key()

    def _present(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        try:
            text = self.certificate_file.read_bytes()
            return x509.load_pem_x509_certificate(text), _read_key(text)
        except (OSError, ValueError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else "damaged"
            raise BadConfig(f"{self.certificate_file}: {why}; enrol this edge again: `doorchime edge enrol`") from exc

    def _write(self, path: Path, text: str) -> None:
        """Replace a file whole; run by root, it belongs to whom the folder belongs to."""
        fresh = path.with_name(path.name + ".new")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh.unlink(missing_ok=True)
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                if os.geteuid() == 0:
                    owner = self.folder.stat()
                    os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(path)
        except OSError as exc:
            raise BadConfig(f"{path}: {exc.strerror}; run this as the user of the edge, or as root") from exc


def make_request(edge: str, key: ec.EllipticCurvePrivateKey) -> str:
    """A certificate request for this edge, PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, edge)])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def fingerprint(ca: str) -> str:
    """SHA-256 of a CA's certificate (DER), lower-case hexadecimal.

    Raises:
        BadMessage: not a certificate in PEM.
    """
    try:
        return x509.load_pem_x509_certificate(ca.encode()).fingerprint(hashes.SHA256()).hex()
    except ValueError as exc:
        raise BadMessage("what the hub calls its CA is no certificate") from exc


def check(granted: Granted, key: ec.EllipticCurvePrivateKey) -> None:
    """Whether the certificate is for this key and edge, and signed by that CA.

    Raises:
        BadMessage: it is not.
    """
    try:
        certificate = x509.load_pem_x509_certificate(granted.certificate.encode())
        authority = x509.load_pem_x509_certificate(granted.ca.encode())
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature) as exc:
        raise BadMessage("the hub sent a certificate that its CA did not sign; nothing was kept") from exc
    names = [str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if certificate.public_key() != key.public_key() or names != [granted.edge]:
        raise BadMessage("the hub sent a certificate for another key or another edge; nothing was kept")
    if not granted.broker_url.startswith("mqtts://"):
        raise BadMessage("the hub names a broker without TLS; nothing was kept")


def _read_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not a key of an elliptic curve")
    return key


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    form, crypt = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, crypt).decode()
