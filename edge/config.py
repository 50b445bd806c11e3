"""The edge's settings: one frozen class, read once by `edge.main`.

A TOML file, overridden by environment variables `DOORCHIME_EDGE_<FIELD>`. Secrets stand in files of their own.
"""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from edge.core.presence import Gates
from wire.errors import BadConfig
from wire.messages import Level, Uuid
from wire.pace import SLOTS

ENV_PREFIX = "DOORCHIME_EDGE_"

ENROLLED_FILE = "enrolled.toml"
"""In `state_dir`: settings that `doorchime edge enrol` got from the hub. What the settings file says goes before."""

FleetPrefix = Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]

LIVE = frozenset(
    {"enter_dbm", "strong_dbm", "exit_silence_s", "exit_silence_max_s", "sample_interval_s", "sample_floor_dbm"}
)
"""Settings that the hub may change while the edge runs."""


class EdgeConfig(BaseSettings):
    """Every setting of `doorchime edge`."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=ENV_PREFIX)

    version: Literal[1] = Field(1, description="Version of this file's format.")
    edge: Level = Field(description="Id of this edge, unique in the deployment.")
    store: Level = Field(description="Id of the store it stands in.")
    broker_url: str = Field(
        "mqtt://127.0.0.1:1883", max_length=1000, description="The MQTT broker: `mqtt[s]://[user@]host:port`; s is TLS."
    )
    password_file: Path | None = Field(None, description="File with the broker password of `user`.")
    broker_ca_file: Path | None = Field(None, description="CA that the broker must prove (PEM); none: the system's.")
    broker_cert_file: Path | None = Field(None, description="Certificate of this edge for the broker (PEM).")
    broker_key_file: Path | None = Field(None, description="Its key (PEM); none: it stands in `broker_cert_file`.")
    hub_url: str | None = Field(
        None, max_length=1000, pattern=r"^https?://", description="The hub's API: there the certificate is renewed."
    )
    radio: str = Field(
        "bluez",
        pattern=r"^(bluez(:hci[0-9]{1,2})?|replay:.+)$",
        description="`bluez`, `bluez:hciN`, or `replay:PATH` (a recording, or the unix socket of a simulator).",
    )
    replay_scanner: str | None = Field(
        None, max_length=200, description="Which scanner of a recording this edge is; without it, all of them."
    )
    state_dir: Path = Field(Path("/var/lib/doorchime"), description="Folder of outbox and credentials.")
    prefixes: list[FleetPrefix] = Field(
        min_length=1, max_length=16, description="Fleet prefixes, 8 lower-case hexadecimal digits; all else is dropped."
    )
    canary_uuid: Uuid | None = Field(
        None, description="The store's own beacon: it proves the radio alive while the shop is empty."
    )
    enter_dbm: float = Field(-80, ge=-127, le=0, description="Level from which a beacon is let in, dBm.")
    strong_dbm: float = Field(-60, ge=-127, le=0, description="Level from which two advertisements suffice, dBm.")
    exit_silence_s: int = Field(30, ge=2, le=600, description="Shortest silence that means gone, s.")
    exit_silence_max_s: int = Field(180, ge=5, le=600, description="Longest silence that means gone, s.")
    sample_interval_s: float = Field(1.0, ge=0.2, le=60, description="A sample per beacon this often, s.")
    sample_floor_dbm: float = Field(-110, ge=-127, le=0, description="Weaker samples are not sent, dBm.")
    outbox_max_mb: float = Field(64, ge=0.1, le=10_000, description="Most that waits for the hub, MB.")
    outbox_max_age_h: int = Field(168, ge=1, le=8760, description="Longest that anything waits for the hub, h.")
    connect_spread_s: float = Field(30, ge=0, le=600, description="First connect within this, at random, s.")
    reconnect_max_s: float = Field(30, ge=0.1, le=600, description="Longest pause before a reconnect (full jitter), s.")
    telemetry_s: float = Field(30, ge=0.5, le=3600, description="Counters are sent this often, s.")
    silent_radio_s: int = Field(90, ge=5, le=3600, description="Hearing nothing for this long is a dead radio, s.")
    max_tracks: int = Field(4096, ge=16, le=1_000_000, description="Most beacons followed at once.")
    batch_max: int = Field(50, ge=1, le=200, description="Most events in one message.")
    pace_file: Path | None = Field(None, description="For rehearsals: the file that says how fast time runs.")
    pace_slot: int = Field(
        0, ge=0, le=SLOTS - 1, description="For rehearsals: where in it this edge says how late it is."
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

    @field_validator("broker_url")
    @classmethod
    def _check_broker_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError("write `mqtt://host:port` or `mqtts://host:port`, if need be with `user@` before the host")
        if parts.password is not None:
            raise ValueError("keep the password out of the URL: put it into a file named by `password_file`")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "EdgeConfig":
        if self.strong_dbm < self.enter_dbm:
            raise ValueError("strong_dbm is below enter_dbm: the fast path would let in what the slow one refuses")
        if self.exit_silence_max_s < self.exit_silence_s:
            raise ValueError("exit_silence_max_s is shorter than exit_silence_s")
        if not self.broker_tls and (self.broker_ca_file or self.broker_cert_file or self.broker_key_file):
            raise ValueError(
                "broker_url: certificates are for TLS: write `mqtts://`, or remove the broker_*_file lines"
            )
        if self.broker_key_file and not self.broker_cert_file:
            raise ValueError("broker_cert_file is missing: a key alone is of no use")
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
    def broker_user(self) -> str | None:
        """User name at the broker, if any."""
        return urlsplit(self.broker_url).username

    @property
    def gates(self) -> Gates:
        """What the presence engine needs."""
        return Gates(
            enter_dbm=self.enter_dbm,
            strong_dbm=self.strong_dbm,
            exit_silence_ms=self.exit_silence_s * 1000,
            exit_silence_max_ms=self.exit_silence_max_s * 1000,
            sample_interval_ms=int(self.sample_interval_s * 1000),
            sample_floor_dbm=self.sample_floor_dbm,
            max_tracks=self.max_tracks,
        )

    def changed(self, settings: dict[str, Any]) -> "EdgeConfig":
        """These settings with some of the live ones replaced, checked as a file would be.

        Raises:
            BadConfig: a setting that is not live, or a value that cannot be used.
        """
        for name in settings:
            if name not in LIVE:
                raise BadConfig(f"{name[:64]}: cannot be changed while the edge runs")
        try:
            return EdgeConfig(**{**self.model_dump(), **settings})
        except ValidationError as exc:
            raise BadConfig(_explain(exc)) from exc


def load(path: Path | None) -> EdgeConfig:
    """Read and check the settings: file and environment, then what the hub said at enrolment.

    Raises:
        BadConfig: the file cannot be read or a setting cannot be used; the text names it and says what to do.
    """
    known = {ENV_PREFIX + name.upper() for name in EdgeConfig.model_fields}
    strange = sorted(name for name in os.environ if name.startswith(ENV_PREFIX) and name not in known)
    if strange:
        raise BadConfig(f"environment: {strange[0]} is no setting of the edge; remove it or correct its name")
    given = {} if path is None else _read_toml(path)
    enrolled = state_dir_of(given) / ENROLLED_FILE
    said = _read_toml(enrolled) if enrolled.exists() else {}
    try:
        found = EdgeConfig(**{**said, **given})
        for name in ("edge", "store"):
            if said and getattr(found, name) != said.get(name):
                raise BadConfig(
                    f"{path or 'environment'}: {name} is {getattr(found, name)}, but this machine was enrolled as "
                    f"{said.get(name)} ({enrolled}): remove the setting, or enrol again with `doorchime edge enrol`"
                )
        return found
    except ValidationError as exc:
        raise BadConfig(f"{path or 'environment'}: {_explain(exc)}") from exc
    except ValueError as exc:  # pydantic-settings: a list in the environment that does not parse
        raise BadConfig(f"environment: {exc}") from exc


def state_dir_of(given: dict[str, Any]) -> Path:
    """The folder that these settings of a file, and the environment over them, name."""
    default = EdgeConfig.model_fields["state_dir"].default
    return Path(os.environ.get(f"{ENV_PREFIX}STATE_DIR") or str(given.get("state_dir", default)))


def find_state_dir(path: Path | None) -> Path:
    """The `state_dir` of a file that may lack all else, or of the environment.

    Raises:
        BadConfig: the file is there and cannot be read.
    """
    return state_dir_of({} if path is None or not path.exists() else _read_toml(path))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as exc:
        raise BadConfig(f"{path}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise BadConfig(f"{path}: not TOML: {exc}") from exc


def read_password(path: Path | None) -> str | None:
    """The broker password, or None without a file.

    Raises:
        BadConfig: the file cannot be read.
    """
    if path is None:
        return None
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise BadConfig(f"password_file {path}: cannot be read") from exc


def _explain(exc: ValidationError) -> str:
    lines = []
    for error in exc.errors(include_input=False, include_url=False):
        where = ".".join(str(part) for part in error["loc"]) or "settings"
        if error["type"] == "extra_forbidden":
            what = "is no setting of the edge; remove it or correct its name"
        else:
            what = error["msg"].removeprefix("Value error, ")
        field = EdgeConfig.model_fields.get(where)
        lines.append(f"{where}: {what}" + (f" ({field.description})" if field and field.description else ""))
    return "; ".join(lines)
