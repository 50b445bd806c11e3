"""`doorchime hub init`: everything a hub needs, made once. A second run changes nothing and says what exists."""

import secrets
from pathlib import Path
from typing import NamedTuple

from hub.config import SECRET_BYTES, HubConfig, load
from hub.core.model import ApiKey, Identity
from hub.main.authority import load_authority, make_ca, write_new
from hub.main.clock import NewUlid, SystemClock
from hub.ports import Clock, Store
from hub.stores import open_store
from hub.usecases import keys
from wire.errors import BadConfig


class Made(NamedTuple):
    """What `init` found and made. `key` is the first staff key, shown this once; None when one existed."""

    config: str | None
    config_made: bool
    secret_file: str
    secret_made: bool
    ca_fingerprint: str
    ca_made: bool
    database: str
    migrations: list[str]
    key: str | None
    key_id: str | None


def init(path: Path | None, clock: Clock | None = None) -> Made:
    """Make the settings file, the secret, the schema, the CA and the first staff key, each only if it is missing.

    Raises:
        BadConfig: a file cannot be read or written; or the secret is gone while the database still needs it.
        StoreFault: the database cannot be used.
    """
    clock = clock or SystemClock()
    config_made = path is not None and not path.exists()
    if path is not None and config_made:
        write_new(path, _starter(path), 0o644)
    config = load(path)
    store = open_store(config.database)
    try:
        migrations = store.migrate()
        secret_made = _make_secret(config, store)
        ca_made = make_ca(config, store, clock)
        key, key_id = _first_key(config, store, clock)
    finally:
        store.close()
    return Made(
        config=None if path is None else str(path),
        config_made=config_made,
        secret_file=str(config.secret_file),
        secret_made=secret_made,
        ca_fingerprint=load_authority(config.ca_folder).fingerprint,
        ca_made=ca_made,
        database=kind_of(config.database),
        migrations=migrations,
        key=key,
        key_id=key_id,
    )


def kind_of(database: str) -> str:
    """The database as it may be shown: a PostgreSQL URL can hold a password."""
    return database if database.startswith("sqlite:") else database.split(":", 1)[0]


def _make_secret(config: HubConfig, store: Store) -> bool:
    if config.secret_file.exists():
        return False
    with store.read() as tx:
        if tx.count(Identity, {"tenant": config.tenant}):
            raise BadConfig(
                f"secret_file {config.secret_file}: is gone, but the database holds people hashed with it; "
                "restore it from your backup (a new one would make them all strangers)"
            )
    write_new(config.secret_file, secrets.token_hex(SECRET_BYTES) + "\n", 0o600)
    return True


def _first_key(config: HubConfig, store: Store, clock: Clock) -> tuple[str | None, str | None]:
    with store.write() as tx:
        found = tx.find(ApiKey, {"tenant": config.tenant, "scope": "staff", "revoked_at_ms": None}, limit=1)
        if found:
            return None, found[0].key
        secret = secrets.token_bytes(keys.SECRET_BYTES)
        wanted = keys.KeyFor("staff", "first staff key")
        made = keys.create_key(tx, config.tenant, wanted, secret, clock.now_ms(), NewUlid(clock))
        return made.text, made.key


def _starter(path: Path) -> str:
    folder = path.resolve().parent
    return f"""# Settings of the doorchime hub. All of them: `doorchime hub check-config --all`
version = 1
database = "sqlite:{folder / "doorchime.db"}"
secret_file = "{folder / "doorchime.secret"}"
broker_url = "mqtt://127.0.0.1:1883"
listen = "127.0.0.1"
port = 8080
prefixes = ["{secrets.token_hex(4)}"] # the fleet prefix of your beacons: give it to every edge
"""
