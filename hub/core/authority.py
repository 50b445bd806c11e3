"""The hub's own certificate authority: who may speak on the broker, and as whom. Bytes and times in, PEM out.

P-256 throughout (RFC 5480): every TLS library of the last ten years speaks it, and a signature costs a Pi 1 ms. An
edge makes its key itself; only its request comes here. The name of a certificate (CN) is its user name on the broker.
"""

import hashlib
import ipaddress
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wire.errors import BadConfig, BadRequest

DAY_MS = 86_400_000

EDGE_DAYS = 90
"""Life of an edge's certificate, days: renewed by itself at two thirds; a stolen one dies within it in any case."""

SERVER_DAYS = 825
"""Life of the broker's certificate, days: the longest that common TLS stacks take. The hub renews it."""

CA_DAYS = HUB_DAYS = 7300
"""Life of the CA and of the hub's own certificate, days (20 years). Both keys lie on one machine: whoever holds the
CA's can make the hub's anew, so a shorter life of the latter protects nobody."""

CRL_DAYS = 3650
"""Life of a revocation list, days. It lies beside the broker, rewritten at each change; a list that runs out would
lock everybody out, so it must outlive every silence of the hub."""

EARLY_MS = 3_600_000
"""An edge's certificate is valid from so much before its issue, ms: the broker's clock may be behind the hub's."""

EPOCH_MS = 1_577_836_800_000
"""1 January 2020, Unix ms: what an edge checks (CA, broker) is valid from then on. A Pi has no clock of its own, and
must reach the broker before it learns the time."""

MAX_CSR_CHARS = 4_000
"""Largest request, PEM characters: one of P-256 has about 400."""

SERIAL_BYTES = 16
"""Random bytes of a serial number: 128 bits, RFC 5280 allows 160."""

CA_NAME = "doorchime hub CA"

HUB_NAME = "doorchime-hub"
"""The hub's user name on the broker, as in `firmware_config/acl`: no edge may be called so."""


class Issued(NamedTuple):
    """A certificate. `serial` is lower-case hexadecimal; `public_key` the subject's, DER in hexadecimal."""

    pem: str
    serial: str
    public_key: str
    not_before_ms: int
    not_after_ms: int


class Request(NamedTuple):
    """A checked certificate request: `name` is its CN, `public_key` DER in hexadecimal."""

    name: str
    public_key: str


class Authority:
    """A CA with its key. `pem` is its certificate, `fingerprint` the SHA-256 of that as hexadecimal (of the DER)."""

    def __init__(self, certificate_pem: bytes, key_pem: bytes) -> None:
        """Raise BadConfig when these are no CA certificate and its P-256 key."""
        try:
            self._certificate = x509.load_pem_x509_certificate(certificate_pem)
            key = serialization.load_pem_private_key(key_pem, None)
        except (ValueError, TypeError) as exc:
            raise BadConfig("the CA's files hold no certificate and key in PEM: restore them from your backup") from exc
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != self._certificate.public_key():
            raise BadConfig("the CA's key does not belong to its certificate: restore both from the same backup")
        self._key = key
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM).decode()
        self.fingerprint = fingerprint_of(self._certificate.public_bytes(serialization.Encoding.DER))

    def issue_edge(self, request: Request, serial: bytes, at_ms: int) -> Issued:
        """A client certificate of `EDGE_DAYS` for what the request names."""
        key = serialization.load_der_public_key(bytes.fromhex(request.public_key))
        assert isinstance(key, ec.EllipticCurvePublicKey)  # read_request saw to it
        usage = ExtendedKeyUsageOID.CLIENT_AUTH
        return self._issue(request.name, key, serial, at_ms - EARLY_MS, at_ms + EDGE_DAYS * DAY_MS, usage)

    def issue_hub(self, name: str, serial: bytes, at_ms: int) -> tuple[str, Issued]:
        """A client certificate for the hub itself, and its fresh key (PEM)."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.CLIENT_AUTH
        made = self._issue(name, key.public_key(), serial, at_ms - EARLY_MS, at_ms + HUB_DAYS * DAY_MS, usage)
        return key_pem(key), made

    def issue_server(self, hosts: Sequence[str], serial: bytes, at_ms: int) -> tuple[str, Issued]:
        """A server certificate for these host names or addresses, and its fresh key (PEM)."""
        key = ec.generate_private_key(ec.SECP256R1())
        until_ms = at_ms + SERVER_DAYS * DAY_MS
        usage = ExtendedKeyUsageOID.SERVER_AUTH
        return key_pem(key), self._issue(hosts[0][:64], key.public_key(), serial, EPOCH_MS, until_ms, usage, hosts)

    def revocation_list(self, revoked: Iterable[tuple[str, int]], at_ms: int) -> str:
        """The CRL (PEM) of these (serial, revoked at Unix ms)."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(_instant(at_ms - EARLY_MS))
            .next_update(_instant(at_ms + CRL_DAYS * DAY_MS))
            .add_extension(x509.CRLNumber(at_ms), critical=False)
        )
        for serial, revoked_at_ms in revoked:
            row = x509.RevokedCertificateBuilder().serial_number(int(serial, 16)).revocation_date(
                _instant(revoked_at_ms)
            )  # fmt: skip
            builder = builder.add_revoked_certificate(row.build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def _issue(
        self,
        name: str,
        key: ec.EllipticCurvePublicKey,
        serial: bytes,
        from_ms: int,
        until_ms: int,
        usage: x509.ObjectIdentifier,
        hosts: Sequence[str] = (),
    ) -> Issued:
        if len(serial) != SERIAL_BYTES:
            raise ValueError(f"a serial number has {SERIAL_BYTES} random bytes")
        number = int.from_bytes(serial, "big") | 1 << (8 * SERIAL_BYTES - 1)  # never zero, always as long
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self._certificate.subject)
            .public_key(key)
            .serial_number(number)
            .not_valid_before(_instant(from_ms))
            .not_valid_after(_instant(until_ms))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )  # fmt: skip
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), False)
        made = builder.sign(self._key, hashes.SHA256())
        pem = made.public_bytes(serialization.Encoding.PEM).decode()
        return Issued(pem, f"{number:x}", public_key_hex(key), from_ms, until_ms)


def make_authority(serial: bytes, at_ms: int) -> tuple[str, str]:
    """A new CA: its certificate and its key, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{CA_NAME} {serial[:4].hex()}")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(serial, "big") | 1)
        .not_valid_before(_instant(EPOCH_MS))
        .not_valid_after(_instant(at_ms + CA_DAYS * DAY_MS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode(), key_pem(key)


def read_request(pem: str) -> Request:
    """Check a certificate request: PEM, signed by its own key, P-256, and nothing in its subject but one CN.

    Raises:
        BadRequest: it is none of that; the text says which.
    """
    if len(pem) > MAX_CSR_CHARS:
        raise BadRequest(f"csr: more than {MAX_CSR_CHARS} characters")
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        key = request.public_key()
        signed = request.is_signature_valid
        subject = list(request.subject)
    except Exception as exc:  # cryptography names many; whatever it is, it is no request that we sign
        raise BadRequest("csr: no certificate request in PEM") from exc
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadRequest("csr: the key must be of the curve P-256")
    if not signed:
        raise BadRequest("csr: not signed by its own key")
    if len(subject) != 1 or subject[0].oid != NameOID.COMMON_NAME:
        raise BadRequest("csr: the subject must be one CN, the id of the edge, and nothing else")
    return Request(str(subject[0].value), public_key_hex(key))


def signed_by(public_key: str, message: bytes, signature: bytes) -> bool:
    """Whether the holder of this key (DER in hexadecimal) signed the message: ECDSA with SHA-256, DER."""
    key = serialization.load_der_public_key(bytes.fromhex(public_key))
    assert isinstance(key, ec.EllipticCurvePublicKey)
    try:
        key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def hosts_of(pem: bytes) -> tuple[list[str], int]:
    """Host names and addresses of a server certificate, and its end, Unix ms.

    Raises:
        BadConfig: not a certificate with names.
    """
    try:
        found = x509.load_pem_x509_certificate(pem)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound) as exc:
        raise BadConfig("no server certificate in PEM") from exc
    return [str(name.value) for name in names], int(found.not_valid_after_utc.timestamp()) * 1000


def revoked_in(pem: bytes) -> tuple[frozenset[str], int]:
    """Serials on a revocation list, hexadecimal, and when it was made, Unix ms.

    Raises:
        BadConfig: not a list.
    """
    try:
        found = x509.load_pem_x509_crl(pem)
    except ValueError as exc:
        raise BadConfig("no revocation list in PEM") from exc
    return frozenset(f"{row.serial_number:x}" for row in found), int(found.last_update_utc.timestamp()) * 1000


def fingerprint_of(der: bytes) -> str:
    """SHA-256 of a certificate, lower-case hexadecimal."""
    return hashlib.sha256(der).hexdigest()


def public_key_hex(key: ec.EllipticCurvePublicKey) -> str:
    """SubjectPublicKeyInfo, DER, in hexadecimal."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.DER, form).hex()


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """PKCS 8 in PEM, not encrypted: the file's mode protects it."""
    form, crypt = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, crypt).decode()


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _instant(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms // 1000, UTC)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
