"""The hub's settings: one frozen class, read once by `hub.main`.

A TOML file, overridden by environment variables `DOORCHIME_HUB_<FIELD>`. Secrets stand in files of their own.
Relative paths are relative to the working directory.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from hub.core import foreign
from wire.errors import BadConfig
from wire.messages import Level
from wire.pace import SLOTS

ENV_PREFIX = "DOORCHIME_HUB_"
SECRET_BYTES = 32
"""Length of the key that identifiers are hashed with: the output size of SHA-256, as RFC 2104 advises."""

FleetPrefix = Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
ForeignTopics = Annotated[str, Field(pattern=rf"^(espresense|theengs(:{foreign.BASE})?)$", max_length=250)]
ForeignAlias = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^/+#\x00]+$")]
ForeignBeacon = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-[0-9]{1,5}-[0-9]{1,5}$")]


class HubConfig(BaseSettings):
    """Every setting of `doorchime hub`."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=ENV_PREFIX)

    version: Literal[1] = Field(1, description="Version of this file's format.")
    tenant: Level = Field("default", description="Whom the records of this hub belong to.")
    database: str = Field(
        "sqlite:doorchime.db", max_length=1000, description="`sqlite:PATH` or `postgresql://…` (a URL of libpq)."
    )
    secret_file: Path = Field(
        Path("doorchime.secret"),
        description="File with the 32-byte key (64 hexadecimal digits, mode 0600) that identifiers are hashed with.",
    )
    broker_url: str = Field(
        "mqtt://127.0.0.1:1883", max_length=1000, description="The MQTT broker: `mqtt[s]://[user@]host:port`; s is TLS."
    )
    broker_password_file: Path | None = Field(None, description="File with the broker password of `user`.")
    broker_ca_file: Path | None = Field(None, description="CA that the broker must prove (PEM); none: the system's.")
    broker_cert_file: Path | None = Field(None, description="Certificate of the hub for the broker (PEM).")
    broker_key_file: Path | None = Field(None, description="Its key (PEM); none: it stands in `broker_cert_file`.")
    edge_broker_url: str | None = Field(
        None, max_length=1000, description="The broker as edges reach it, `mqtts://host:port`; none: `broker_url`."
    )
    ca_dir: Path | None = Field(
        None, description="Folder of the CA that certifies edges; none: `doorchime-ca` beside `secret_file`."
    )
    broker_dir: Path | None = Field(
        None, description="Folder in which the hub keeps mosquitto's settings, ACL and certificates up to date."
    )
    tls_cert_file: Path | None = Field(None, description="Certificate of the API (PEM): it then speaks HTTPS itself.")
    tls_key_file: Path | None = Field(None, description="Its key (PEM); none: it stands in `tls_cert_file`.")
    client_id: Level = Field("doorchime-hub", description="MQTT session name; one running hub per name.")
    keepalive_s: int = Field(30, ge=5, le=600, description="MQTT keep-alive, s.")
    reconnect_max_s: float = Field(
        15.0, ge=0.1, le=300, description="Longest pause before a new connection to the broker, s (full jitter)."
    )
    listen: str = Field("127.0.0.1", min_length=1, max_length=255, description="Address the API listens on.")
    port: int = Field(8080, ge=0, le=65_535, description="Port the API listens on; 0 = any free one.")
    prefixes: list[FleetPrefix] = Field(
        default_factory=list,
        max_length=16,
        description="Fleet prefixes, 8 lower-case hexadecimal digits each; beacons are allotted under the first.",
    )
    foreign_topics: list[ForeignTopics] = Field(
        default_factory=list,
        max_length=8,
        description="Listeners of another make to hear: `espresense`, `theengs` or `theengs:<base of their topics>`.",
    )
    foreign_aliases: dict[ForeignAlias, ForeignBeacon] = Field(
        default_factory=dict,
        max_length=1000,
        description="Beacons that ESPresense knows by another id: that id = `<uuid>-<major>-<minor>`.",
    )
    foreign_enter_dbm: float = Field(
        -80.0, ge=-110, le=-30, description="Level from which a listener of another make lets somebody in, dBm."
    )
    visit_grace_s: int = Field(120, ge=0, le=3600, description="Absence that still counts as the same visit, s.")
    lock_hold_s: int = Field(1200, ge=60, le=86_400, description="How long an arrival freezes an offer's value, s.")
    late_push_s: int = Field(30, ge=1, le=3600, description="Age from which an event no longer causes a push, s.")
    quarantine_max: int = Field(10_000, ge=0, le=1_000_000, description="Rows kept of what could not be used.")
    queue_max: int = Field(10_000, ge=10, le=1_000_000, description="Messages waiting for the writer.")
    push_parallel: int = Field(64, ge=1, le=1000, description="Pushes sent at the same time.")
    push_timeout_s: float = Field(10.0, ge=1, le=60, description="Longest wait for a channel's answer, s.")
    stop_s: float = Field(8.0, ge=1, le=9, description="Time to finish open work after SIGTERM, s; exit within 10 s.")
    pace_file: Path | None = Field(None, description="For rehearsals: the file that says how fast time runs.")
    pace_slot: int = Field(
        0, ge=0, le=SLOTS - 1, description="For rehearsals: where in it the hub says how late it is."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severity logged.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file (the arguments of the constructor) over defaults."""
        return env_settings, init_settings

    @field_validator("database")
    @classmethod
    def _check_database(cls, value: str) -> str:
        if re.match(r"sqlite:.+", value) or re.match(r"postgres(ql)?://.+", value):
            return value
        raise ValueError("write `sqlite:PATH` or `postgresql://user@host/name`")

    @field_validator("broker_url", "edge_broker_url")
    @classmethod
    def _check_broker_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError("write `mqtt://host:port` or `mqtts://host:port`, if need be with `user@` before the host")
        if parts.password is not None:
            raise ValueError("keep the password out of the URL: put it into a file named by `broker_password_file`")
        if parts.port == 0:
            raise ValueError("the port must be 1 to 65535")
        return value

    @field_validator("foreign_topics")
    @classmethod
    def _check_foreign_topics(cls, value: list[str]) -> list[str]:
        bases = [f"{foreign.base_of(topics)}/" for topics in value]
        for number, base in enumerate(bases):
            if base.startswith("doorchime/"):
                raise ValueError("topics under `doorchime/` are doorchime's own")
            if any(base.startswith(other) for place, other in enumerate(bases) if place != number):
                raise ValueError(f"`{value[number]}` is named twice, or lies within another of them")
        return value

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if not self.broker_tls and (self.broker_ca_file or self.broker_cert_file or self.broker_key_file):
            raise ValueError(
                "broker_url: certificates are for TLS: write `mqtts://`, or remove the broker_*_file lines"
            )
        if self.broker_key_file and not self.broker_cert_file:
            raise ValueError("broker_cert_file is missing: a key alone is of no use")
        if self.tls_key_file and not self.tls_cert_file:
            raise ValueError("tls_cert_file is missing: a key alone is of no use")
        if self.edge_broker_url is not None and urlsplit(self.edge_broker_url).scheme != "mqtts":
            raise ValueError("edge_broker_url: edges with certificates need TLS: write `mqtts://host:port`")
        if self.broker_dir is not None and self.edge_url is None:
            raise ValueError("broker_dir: set `edge_broker_url` too, `mqtts://host:port` as edges reach the broker")
        return self

    @model_validator(mode="after")
    def _check_foreign(self) -> Self:
        if self.foreign_topics and not self.prefixes:
            raise ValueError("foreign_topics: set `prefixes` too, or nothing that is heard there is ours")
        for alias, beacon in self.foreign_aliases.items():
            if beacon[:8] not in self.prefixes:
                raise ValueError(f"foreign_aliases: the beacon of `{alias}` does not begin with one of `prefixes`")
            if any(int(number) > 65_535 for number in beacon.split("-")[5:]):
                raise ValueError(f"foreign_aliases: major and minor of `{alias}` are 0 to 65535")
        return self

    @property
    def broker_host(self) -> str:
        """Host of the broker."""
        return urlsplit(self.broker_url).hostname or ""

    @property
    def broker_port(self) -> int:
        """Port of the broker; unless the URL names one, 1883, with TLS 8883."""
        return urlsplit(self.broker_url).port or (8883 if self.broker_tls else 1883)

    @property
    def broker_tls(self) -> bool:
        """Whether the line to the broker is TLS."""
        return urlsplit(self.broker_url).scheme == "mqtts"

    @property
    def ca_folder(self) -> Path:
        """Where the CA is."""
        return self.ca_dir or self.secret_file.parent / "doorchime-ca"

    @property
    def edge_url(self) -> str | None:
        """The broker as edges with certificates reach it; None when there is no such way."""
        return self.edge_broker_url or (self.broker_url if self.broker_tls else None)

    @property
    def broker_user(self) -> str | None:
        """User name at the broker, if any."""
        return urlsplit(self.broker_url).username


def load(path: Path | None, environ: Mapping[str, str] | None = None) -> HubConfig:
    """Read and check the settings; without a path, the environment and the defaults alone.

    Raises:
        BadConfig: the file cannot be read or a setting cannot be used; the text names file and field and what to do.
    """
    known = {ENV_PREFIX + name.upper() for name in HubConfig.model_fields}
    strange = sorted(
        name for name in (os.environ if environ is None else environ) if name.upper().startswith(ENV_PREFIX)
        and name.upper() not in known
    )  # fmt: skip
    if strange:
        raise BadConfig(f"environment: {strange[0]} is no setting of the hub; remove it or correct its name")
    try:
        return HubConfig(**({} if path is None else _read(path)))
    except ValidationError as exc:
        raise BadConfig(_explain(path, exc)) from exc
    except ValueError as exc:  # pydantic-settings: a list or number in the environment that does not parse
        raise BadConfig(f"environment: {exc}") from exc


def read_secret(path: Path) -> bytes:
    """The 32 bytes of the secret file.

    Raises:
        BadConfig: missing, open to others, or not 64 hexadecimal digits.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise BadConfig(f"secret_file {path}: {_why(exc)}; `doorchime hub init` makes it") from exc
    if mode & 0o077:
        raise BadConfig(f"secret_file {path}: readable by others; run `chmod 600 {path}`")
    if not re.fullmatch(rf"[0-9a-fA-F]{{{2 * SECRET_BYTES}}}", text):
        raise BadConfig(f"secret_file {path}: must hold {2 * SECRET_BYTES} hexadecimal digits and nothing else")
    return bytes.fromhex(text)


def read_password(path: Path | None) -> str | None:
    """The broker password, or None without a file.

    Raises:
        BadConfig: the file cannot be read or is empty.
    """
    if path is None:
        return None
    try:
        password = path.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise BadConfig(f"broker_password_file {path}: {_why(exc)}") from exc
    if not password:
        raise BadConfig(f"broker_password_file {path}: is empty")
    return password


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as exc:
        raise BadConfig(f"{path}: {_why(exc)}; `doorchime hub init --config {path}` makes one") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise BadConfig(f"{path}: not TOML: {exc}") from exc


def _explain(path: Path | None, exc: ValidationError) -> str:
    lines = []
    for error in exc.errors(include_input=False, include_url=False):
        name = str(error["loc"][0]) if error["loc"] else "settings"
        where = ".".join(str(part) for part in error["loc"]) or name
        source = _source(path, name)
        if error["type"] == "extra_forbidden":
            what = "is no setting of the hub; remove it or correct its name"
        else:
            what = error["msg"].removeprefix("Value error, ")
            field = HubConfig.model_fields.get(name)
            if field is not None and field.description:
                what += f" ({field.description})"
        lines.append(f"{source}: {where}: {what}")
    return "\n".join(lines)


def _source(path: Path | None, name: str) -> str:
    variable = ENV_PREFIX + name.upper()
    if any(known.upper() == variable for known in os.environ):
        return f"environment variable {variable}"
    return "settings" if path is None else str(path)


def _why(exc: Exception) -> str:
    return exc.strerror or type(exc).__name__ if isinstance(exc, OSError) else "not text"
