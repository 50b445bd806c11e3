"""Enrolment and renewal over the hub's API. The standard library speaks HTTP: two requests in three months."""

import http.client
import ipaddress
import json
import ssl
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.adapters.credentials import Credentials, Granted, fingerprint, make_request
from edge.adapters.tls import explain
from wire.errors import BadConfig, BadMessage, BadTopic
from wire.messages import Level
from wire.tls import MIN_VERSION
from wire.topics import check_level

TIMEOUT_S = 15.0
"""Longest wait for any one step of the hub, s."""

MAX_ANSWER_BYTES = 65_536
"""Largest answer read: certificate and CA have about 2 kB."""


class HubRefused(BadMessage):
    """The hub said no; the text is its own. `status` is that of HTTP."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore")

    edge: Level
    store: Level
    certificate: str = Field(max_length=20_000)
    ca: str = Field(max_length=20_000)
    broker_url: str = Field(max_length=1000)
    prefixes: list[str] = Field(max_length=16)


class _Ca(BaseModel):
    model_config = ConfigDict(extra="ignore")

    certificate: str = Field(max_length=20_000)


class Hub:
    """The hub's API, as far as an edge needs it. `url` is `http[s]://host[:port]`.

    TLS trusts the system's CAs and, once known, the hub's own.
    """

    def __init__(self, url: str) -> None:
        """Raise BadConfig when the URL cannot be used."""
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = 0
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or parts.query or parts.fragment:
            raise BadConfig(f"hub {url[:200]!r}: write https://host or https://host:port")
        self.url = url.rstrip("/")
        self.host, self._port, self._path = parts.hostname, port, parts.path.rstrip("/")
        self.https = parts.scheme == "https"
        self._ca: str | None = None

    @property
    def is_here(self) -> bool:
        """Whether it is this very machine: nobody listens on the way."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def trust(self, ca: str) -> None:
        """Take this CA (PEM) for trustworthy too."""
        self._ca = ca

    def pin(self, wanted: str) -> None:
        """Fetch the hub's CA, and trust it if it is the one with this fingerprint.

        Raises:
            BadMessage: it is another.
            BadConfig: the hub cannot be reached.
        """
        try:
            found = _Ca.model_validate(self._call("GET", "/v1/ca", None, blindly=True))
        except ValidationError as exc:
            raise BadMessage(self._strange()) from exc
        if fingerprint(found.certificate) != wanted:
            raise BadMessage(
                f"{self.host} has another CA than the fingerprint says: a wrong fingerprint, or somebody in between. "
                "The claim was not sent"
            )
        self.trust(found.certificate)

    def trade(self, claim: str, csr: str) -> Granted:
        """Trade a claim. Raises as `_ask`."""
        return self._ask("/v1/edges/claim", {"claim": claim, "csr": csr})

    def renew(self, edge: str, serial: str, csr: str, signature: str) -> Granted:
        """Renew. Raises as `_ask`."""
        body = {"serial": serial, "csr": csr, "signature": signature}
        return self._ask(f"/v1/edges/{quote(edge)}/credentials", body)

    def _ask(self, path: str, body: dict[str, str]) -> Granted:
        """POST for credentials.

        Raises:
            HubRefused: it said no.
            BadMessage: it said something that we cannot use.
            BadConfig: it cannot be reached.
        """
        try:
            return Granted(**_Answer.model_validate(self._call("POST", path, body)).model_dump())
        except ValidationError as exc:
            raise BadMessage(self._strange()) from exc

    def _strange(self) -> str:
        return f"{self.host} answers, but not as a hub of doorchime does: is the address right?"

    def _call(self, method: str, path: str, body: dict[str, str] | None, *, blindly: bool = False) -> Any:
        link = self._connection(blindly)
        try:
            text = None if body is None else json.dumps(body)
            link.request(method, self._path + path, text, {"Content-Type": "application/json"})
            reply = link.getresponse()
            raw = reply.read(MAX_ANSWER_BYTES)
        except OSError as exc:
            raise BadConfig(f"hub {self.url}: {explain(exc, self.host, None)[1]}") from exc
        except http.client.HTTPException as exc:
            raise BadConfig(f"hub {self.url}: does not speak HTTP there; is the address right?") from exc
        finally:
            link.close()
        try:
            found = json.loads(raw)
        except ValueError:
            found = None
        if not 200 <= reply.status < 300:
            detail = found.get("detail") if isinstance(found, dict) else None
            raise HubRefused(reply.status, f"hub {self.url}: {detail or f'answered {reply.status}'}"[:1000])
        return found

    def _connection(self, blindly: bool) -> http.client.HTTPConnection:
        if not self.https:
            return http.client.HTTPConnection(self.host, self._port, timeout=TIMEOUT_S)
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion[MIN_VERSION]
        if blindly:  # only to fetch what a fingerprint then proves
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif self._ca is not None:
            context.load_verify_locations(cadata=self._ca)
        return http.client.HTTPSConnection(self.host, self._port, timeout=TIMEOUT_S, context=context)


def edge_of(claim: str) -> str:
    """The edge that a claim is for.

    Raises:
        BadConfig: that is no claim.
    """
    parts = claim.split("_")
    try:
        if len(parts) == 4 and parts[0] == "dce":
            return check_level(parts[1], "edge")
    except BadTopic:
        pass
    raise BadConfig("claim: is none; it looks like `dce_<edge>_…`, copy it whole")


def enrol(credentials: Credentials, hub: Hub, claim: str, ca_fingerprint: str | None) -> Granted:
    """Become the edge of this claim: make a key here, have it certified, keep everything.

    Raises:
        HubRefused, BadMessage, BadConfig: it did not work; the text says why. What was kept before is untouched.
    """
    edge = edge_of(claim)
    credentials.drop_next_key()
    key = credentials.next_key()  # first: whether this folder can be written must be known before the claim is spent
    if ca_fingerprint is not None:
        hub.pin(ca_fingerprint)
    granted = hub.trade(claim, make_request(edge, key))
    if ca_fingerprint is not None and fingerprint(granted.ca) != ca_fingerprint:
        raise BadMessage("the hub certified with another CA than it showed; nothing was kept: withdraw this edge")
    if granted.edge != edge:
        raise BadMessage("the hub answered for another edge; nothing was kept: withdraw this edge")
    credentials.store(granted, key, hub.url)
    return granted


def renew(credentials: Credentials, edge: str, store: str, hub_url: str) -> None:
    """The next certificate, asked for with the present one.

    Raises:
        HubRefused, BadMessage, BadConfig: it did not work; the present one stays.
    """
    hub, ca = Hub(hub_url), credentials.ca_pem()
    if ca is not None:
        hub.trust(ca)
    key, serial = credentials.next_key(), credentials.life().serial
    csr = make_request(edge, key)
    granted = hub.renew(edge, serial, csr, credentials.sign_renewal(edge, csr))
    if ca is None or fingerprint(granted.ca) != fingerprint(ca):
        raise BadMessage("the hub has another CA now: enrol this edge again")
    if (granted.edge, granted.store) != (edge, store):
        raise BadMessage("the hub answered for another edge or store: enrol this edge again")
    credentials.store(granted, key, hub_url)
