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
        "mqtt://127.0.0.1:1883", max_length=1000, description="The MQTT broker: `mqtt://[user@]host:port`."
    )
    password_file: Path | None = Field(None, description="File with the broker password of `user`.")
    radio: str = Field(
        "bluez",
        pattern=r"^(bluez(:hci[0-9]{1,2})?|replay:.+)$",
        description="`bluez`, `bluez:hciN`, or `replay:PATH` (a recording, or the unix socket of a simulator).",
    )
    replay_scanner: str | None = Field(
        None, max_length=200, description="Which scanner of a recording this edge is; without it, all of them."
    )
    state_dir: Path = Field(Path("/var/lib/doorchime"), description="Folder of the outbox (`outbox.db`).")
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
        if parts.scheme != "mqtt" or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError("write `mqtt://host:port`, if need be with `user@` before the host")
        if parts.password is not None:
            raise ValueError("keep the password out of the URL: put it into a file named by `password_file`")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "EdgeConfig":
        if self.strong_dbm < self.enter_dbm:
            raise ValueError("strong_dbm is below enter_dbm: the fast path would let in what the slow one refuses")
        if self.exit_silence_max_s < self.exit_silence_s:
            raise ValueError("exit_silence_max_s is shorter than exit_silence_s")
        return self

    @property
    def broker_host(self) -> str:
        """Host of the broker."""
        return urlsplit(self.broker_url).hostname or ""

    @property
    def broker_port(self) -> int:
        """Port of the broker, 1883 unless the URL names one."""
        return urlsplit(self.broker_url).port or 1883

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
    """Read and check the settings; without a path, the environment alone.

    Raises:
        BadConfig: the file cannot be read or a setting cannot be used; the text names it and says what to do.
    """
    known = {ENV_PREFIX + name.upper() for name in EdgeConfig.model_fields}
    strange = sorted(name for name in os.environ if name.startswith(ENV_PREFIX) and name not in known)
    if strange:
        raise BadConfig(f"environment: {strange[0]} is no setting of the edge; remove it or correct its name")
    given: dict[str, Any] = {}
    if path is not None:
        try:
            given = tomllib.loads(path.read_text("utf-8"))
        except OSError as exc:
            raise BadConfig(f"{path}: {exc.strerror}") from exc
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
            raise BadConfig(f"{path}: not TOML: {exc}") from exc
    try:
        return EdgeConfig(**given)
    except ValidationError as exc:
        raise BadConfig(f"{path or 'environment'}: {_explain(exc)}") from exc
    except ValueError as exc:  # pydantic-settings: a list in the environment that does not parse
        raise BadConfig(f"environment: {exc}") from exc


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
