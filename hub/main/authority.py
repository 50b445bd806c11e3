"""The CA on disk, and the commands on it: `hub ca init|show|issue`, `hub broker-config`."""

import os
import secrets
from pathlib import Path
from typing import Annotated

import typer

from hub.config import HubConfig
from hub.core.authority import HUB_NAME, SERIAL_BYTES, Authority, make_authority
from hub.core.enrolment_records import EdgeCertificate
from hub.main.broker_files import render
from hub.main.clock import SystemClock
from hub.main.terminal import ConfigOption, JsonOption, opened, plainly, show
from hub.ports import Clock, Store
from hub.usecases.claims import broker_rights
from wire.errors import BadConfig

CA_FILE, KEY_FILE, HUB_FILE = "ca.pem", "ca.key", "hub.pem"
"""In `ca_dir`: the CA's certificate, its key (0600), and the hub's own certificate with its key in one (0600)."""

ca_app = typer.Typer(no_args_is_help=True, help="The CA that certifies edges and the broker.")


def make_ca(config: HubConfig, store: Store, clock: Clock) -> bool:
    """Make the CA and the hub's own certificate, unless there is one; whether it did.

    Raises:
        BadConfig: files cannot be written; or the CA is gone while edges still hold its certificates.
    """
    folder = config.ca_folder
    if (folder / KEY_FILE).exists() and (folder / CA_FILE).exists():
        return False
    with store.read() as tx:
        if tx.count(EdgeCertificate, {"tenant": config.tenant}):
            raise BadConfig(
                f"ca_dir {folder}: the CA is gone, but edges hold certificates of it; restore the folder from your "
                "backup (with a new CA every edge would have to be enrolled again)"
            )
    at_ms = clock.now_ms()
    certificate, key = make_authority(secrets.token_bytes(SERIAL_BYTES), at_ms)
    hub_key, hub = Authority(certificate.encode(), key.encode()).issue_hub(
        HUB_NAME, secrets.token_bytes(SERIAL_BYTES), at_ms
    )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise BadConfig(f"ca_dir {folder}: {exc.strerror}") from exc
    write_new(folder / HUB_FILE, hub_key + hub.pem, 0o600)
    write_new(folder / KEY_FILE, key, 0o600)
    write_new(folder / CA_FILE, certificate, 0o644)
    return True


def load_authority(folder: Path) -> Authority:
    """The CA in this folder.

    Raises:
        BadConfig: missing, readable by others, or not a CA.
    """
    try:
        mode = (folder / KEY_FILE).stat().st_mode
        certificate, key = (folder / CA_FILE).read_bytes(), (folder / KEY_FILE).read_bytes()
    except OSError as exc:
        raise BadConfig(f"ca_dir {folder}: {exc.strerror}; `doorchime hub ca init` makes it") from exc
    if mode & 0o077:
        raise BadConfig(f"{folder / KEY_FILE}: readable by others; run `chmod 600 {folder / KEY_FILE}`")
    try:
        return Authority(certificate, key)
    except BadConfig as exc:
        raise BadConfig(f"ca_dir {folder}: {exc}") from exc


def authority_of(config: HubConfig) -> Authority | None:
    """The hub's CA; None when there is none: a hub without edges of its own needs none.

    Raises:
        BadConfig: it is there and cannot be used.
    """
    return load_authority(config.ca_folder) if (config.ca_folder / KEY_FILE).exists() else None


@ca_app.command("init")
def init(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Make the CA; what exists stays as it is."""
    with plainly(), opened(config) as (settings, records):
        made = make_ca(settings, records, SystemClock())
        found = load_authority(settings.ca_folder)
    line = "made: keep a copy of the folder, apart from the database" if made else "exists"
    show(as_json, {"fingerprint": found.fingerprint, "made": made}, f"{settings.ca_folder} {line}", found.fingerprint)


@ca_app.command("show")
def show_ca(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """The CA's fingerprint, which an edge asks for when it is enrolled."""
    with plainly(), opened(config) as (settings, _):
        found = load_authority(settings.ca_folder)
    show(as_json, {"fingerprint": found.fingerprint, "certificate": found.pem}, found.fingerprint)


@ca_app.command("issue")
def issue(
    hosts: Annotated[list[str], typer.Argument(help="Host names or addresses that the server is reached by.")],
    out: Annotated[Path, typer.Option(help="File for certificate and key (PEM, 0600); must not exist.")],
    config: ConfigOption = None,
) -> None:
    """Make a server certificate: for the hub's API (`tls_cert_file`), or a broker set up by hand."""
    with plainly(), opened(config) as (settings, _):
        found = load_authority(settings.ca_folder)
        key, made = found.issue_server(hosts, secrets.token_bytes(SERIAL_BYTES), SystemClock().now_ms())
        write_new(out, key + made.pem, 0o600)
    typer.echo(f"wrote {out} for {', '.join(hosts)}; the hub does not renew it: issue another within two years")


def broker_config(
    out: Annotated[Path, typer.Option(help="Folder to write to; made if missing. Files that did not change stay.")],
    host: Annotated[
        list[str] | None, typer.Option(help="Further names or addresses of the broker, for its certificate.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write mosquitto's settings, ACL, certificates and revocation list for the edges as they are now."""
    with plainly(), opened(config) as (settings, records):
        at_ms = SystemClock().now_ms()
        with records.read() as tx:
            rights = broker_rights(tx, settings.tenant, at_ms)
        found = load_authority(settings.ca_folder)
        changed = render(out, settings, found, rights, at_ms, secrets.token_bytes, tuple(host or ()))
    report = {"changed": changed, "edges": len(rights.edges), "revoked": len(rights.revoked)}
    show(
        as_json,
        report,
        *(f"wrote {out / name}" for name in changed),
        f"{len(rights.edges)} edges may speak, {len(rights.revoked)} certificates are revoked",
        *(["tell the broker: sudo systemctl reload mosquitto (the first time: restart)"] if changed else []),
    )


def write_new(path: Path, text: str, mode: int) -> None:
    """Create, never overwrite; with its final permissions from the first byte.

    Raises:
        BadConfig: it cannot be written, or exists.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        raise BadConfig(f"{path}: {exc.strerror}") from exc
