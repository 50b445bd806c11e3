"""What mosquitto must know, as files: settings, an ACL with a line per edge and topic, certificates, revocations.

Rendered from the records, written only where something changed, each file whole or not at all. mosquitto reads ACL,
certificates and revocations again on SIGHUP (`systemctl reload mosquitto`), the settings only at a restart.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from hub.config import HubConfig
from hub.core.authority import DAY_MS, HUB_NAME, SERIAL_BYTES, SERVER_DAYS, Authority, hosts_of, revoked_in
from hub.intake.foreign import Listeners, Ours
from hub.ports import Clock, Store
from hub.usecases.claims import Rights, broker_rights
from wire import topics
from wire.errors import BadConfig

SETTINGS, ACL, LOCAL_ACL = "doorchime.conf", "doorchime.acl", "local.acl"
CA, CRL, CERTIFICATE, KEY = "ca.pem", "crl.pem", "broker.pem", "broker.key"

RENEW_CRL_MS = 365 * DAY_MS
"""A revocation list that did not change is made anew after so long, ms: far within its life (`CRL_DAYS`)."""

LOOK_S = 3600.0
"""The files are looked at this often without a change, s: claims run out, certificates near their end."""

EDGE_WRITES = ("presence", "status", "telemetry", "config/ack", "redemptions")
EDGE_READS = ("ack", "config", "grants")
"""What an edge says and hears, as in `wire.topics`. Its last will is a `status`."""

HUB_READS = (
    topics.PRESENCE_FILTER,
    topics.STATUS_FILTER,
    topics.TELEMETRY_FILTER,
    topics.CONFIG_ACK_FILTER,
    f"{topics.ROOT}/+/+/+/redemptions",
)
HUB_WRITES = tuple(f"{topics.ROOT}/{rest}" for rest in ("+/+/+/ack", "+/+/+/config", "+/+/+/grants", "+/+/occupancy"))

log = structlog.get_logger(__name__)


def acl_text(edges: Sequence[tuple[str, str]], foreign_filters: Sequence[str] = (), local: str = "") -> str:
    """The ACL for these (store, edge). No pattern, no wildcard but in the hub's own lines.

    `local` is appended as it is: users of one's own.
    """
    lines = ["# Made by the hub: changes are lost. Users of your own: `local.acl` beside this file.", ""]
    lines += [f"user {HUB_NAME}", *(f"topic read {one}" for one in (*HUB_READS, *foreign_filters))]
    lines += [f"topic write {one}" for one in (*HUB_WRITES, f"{topics.ROOT}/app/+/push")]
    for store, edge in edges:
        lines += ["", f"user {edge}"]
        lines += [f"topic write {topics.edge_topic(store, edge, leaf)}" for leaf in EDGE_WRITES]
        lines += [f"topic read {topics.edge_topic(store, edge, leaf)}" for leaf in EDGE_READS]
    return "\n".join(lines) + "\n" + (f"\n# local.acl\n{local}" if local else "")


def settings_text(folder: Path, port: int) -> str:
    """mosquitto's settings: what we ship about keeping and bounds, and one listener that asks for certificates."""
    shipped = files("firmware_config").joinpath("mosquitto.conf").read_text("utf-8")
    kept, found, _ = shipped.partition("# --- Who may connect")
    if not found:
        raise BadConfig("firmware_config/mosquitto.conf: the part `Who may connect` is gone; install doorchime anew")
    return f"""{kept.rstrip()}

# --- Who may connect: made by the hub, changes are lost -------------------------------------------------------------
# Whoever holds a certificate of the hub's CA that is not revoked; its CN is the user, and the name of the session.
listener {port}
cafile {folder / CA}
certfile {folder / CERTIFICATE}
keyfile {folder / KEY}
crlfile {folder / CRL}
tls_version tlsv1.2
require_certificate true
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false
acl_file {folder / ACL}
"""


def render(
    folder: Path,
    config: HubConfig,
    authority: Authority,
    rights: Rights,
    at_ms: int,
    random: Callable[[int], bytes],
    more_hosts: Sequence[str] = (),
) -> list[str]:
    """Bring the files in `folder` up to date; names of those that changed.

    Raises:
        BadConfig: `edge_broker_url` is missing, or a file cannot be read or written.
    """
    if config.edge_url is None:
        raise BadConfig("edge_broker_url: is missing; set `mqtts://host:port`, the broker as edges reach it")
    url = urlsplit(config.edge_url)
    port = config.broker_port if config.broker_tls else url.port or 8883
    folder = folder.absolute()
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        hosts = list(dict.fromkeys([url.hostname or "", config.broker_host, *more_hosts]))
        changed = _certificates(folder, authority, hosts, at_ms, random)
        changed += _revocations(folder, authority, rights, at_ms, fresh=CA in changed)
        local = _read(folder / LOCAL_ACL)
        foreign = [one for one, _ in Listeners(config.foreign_topics, Ours((), {})).filters]
        acl = acl_text(rights.edges, foreign, local.decode() if local else "")
        changed += _write(folder / ACL, acl) + _write(folder / SETTINGS, settings_text(folder, port))
    except (OSError, UnicodeDecodeError) as exc:
        why = (exc.strerror if isinstance(exc, OSError) else None) or "cannot be read"
        raise BadConfig(f"{folder}: {why}: the hub must be able to write there") from exc
    return changed


def _certificates(
    folder: Path, authority: Authority, hosts: list[str], at_ms: int, random: Callable[[int], bytes]
) -> list[str]:
    """CA, and the broker's certificate: kept while the CA is the same, it names all hosts and has a third left."""
    changed = _write(folder / CA, authority.pem)
    present = _read(folder / CERTIFICATE)
    if present and not changed and (folder / KEY).exists():
        with contextlib.suppress(BadConfig):  # damaged: made anew
            named, until_ms = hosts_of(present)
            if set(hosts) <= set(named) and until_ms - at_ms > SERVER_DAYS * DAY_MS / 3:
                return changed
            hosts = list(dict.fromkeys([*hosts, *named]))
    key, made = authority.issue_server(hosts, random(SERIAL_BYTES), at_ms)
    return changed + _write(folder / KEY, key) + _write(folder / CERTIFICATE, made.pem)


def _revocations(folder: Path, authority: Authority, rights: Rights, at_ms: int, *, fresh: bool) -> list[str]:
    present = _read(folder / CRL)
    if present and not fresh:
        with contextlib.suppress(BadConfig):
            serials, made_ms = revoked_in(present)
            if serials == {serial for serial, _ in rights.revoked} and at_ms - made_ms < RENEW_CRL_MS:
                return []
    return _write(folder / CRL, authority.revocation_list(rights.revoked, at_ms))


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _write(path: Path, text: str) -> list[str]:
    """Replace a file whole, if it differs. Group may read: mosquitto's, where the folder is set up so (setgid)."""
    if _read(path) == text.encode():
        return []
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o640)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    return [path.name]


class BrokerFiles:
    """Keeps `broker_dir` up to date while the hub runs."""

    def __init__(
        self, config: HubConfig, folder: Path, authority: Authority, store: Store, clock: Clock,
        random: Callable[[int], bytes],
    ) -> None:  # fmt: skip
        self._config, self._folder, self._authority = config, folder, authority
        self._store, self._clock, self._random = store, clock, random
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stir = asyncio.Event()

    def changed(self) -> None:
        """Somebody's rights have changed; from any thread, never blocks."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stir.set)

    async def run(self) -> None:
        """Until cancelled.

        Raises:
            BadConfig: the files cannot be written at the start. Later it is logged, and tried again.
        """
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._refresh)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._stir.wait()
            self._stir.clear()
            try:
                await asyncio.to_thread(self._refresh)
            except BadConfig as exc:
                log.error("broker_files_not_written", reason=str(exc))

    def _refresh(self) -> None:
        at_ms = self._clock.now_ms()
        with self._store.read() as tx:
            rights = broker_rights(tx, self._config.tenant, at_ms)
        changed = render(self._folder, self._config, self._authority, rights, at_ms, self._random)
        if changed:
            log.info("broker_files_written", files=changed, edges=len(rights.edges), revoked=len(rights.revoked))
