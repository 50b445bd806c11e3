"""Every mistake in the settings is answered with file, field and what to do."""

import os
from pathlib import Path

import pytest

from hub.config import ENV_PREFIX, HubConfig, load, read_password, read_secret
from hub.main.wiring import listeners_of
from wire.errors import BadConfig


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(ENV_PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hub.toml"


def test_without_a_file_the_defaults_hold() -> None:
    config = load(None)
    assert (config.tenant, config.listen, config.port) == ("default", "127.0.0.1", 8080)
    assert (config.broker_host, config.broker_port, config.broker_user) == ("127.0.0.1", 1883, None)


def test_the_environment_overrides_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('port = 9000\ntenant = "from-file"\nprefixes = ["d0c40001"]\n')
    monkeypatch.setenv("DOORCHIME_HUB_PORT", "9001")
    config = load(file)
    assert (config.port, config.tenant, config.prefixes) == (9001, "from-file", ["d0c40001"])


def test_a_list_in_the_environment_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOORCHIME_HUB_PREFIXES", '["d0c40001","d0c40002"]')
    assert load(None).prefixes == ["d0c40001", "d0c40002"]


def test_the_broker_url_is_read(file: Path) -> None:
    file.write_text('broker_url = "mqtt://hub@broker.shop:2883"\n')
    config = load(file)
    assert (config.broker_host, config.broker_port, config.broker_user) == ("broker.shop", 2883, "hub")


def test_foreign_topics_are_off_until_they_are_named(file: Path) -> None:
    assert load(None).foreign_topics == []
    file.write_text(
        'prefixes = ["d0c41e02"]\nforeign_topics = ["espresense", "theengs", "theengs:acme/vienna"]\n'
        '[foreign_aliases]\n"Anna\'s phone" = "d0c41e02-0000-4000-8000-000000000001-1-65535"\n'
    )
    config = load(file)
    assert config.foreign_topics == ["espresense", "theengs", "theengs:acme/vienna"]
    listeners = listeners_of(config)
    assert len(listeners.filters) == 7
    said = listeners.read("espresense/devices/Anna's phone/hall", b'{"rssi": -70}', False)
    assert said is not None
    assert said.news is not None


PREFIX = "prefixes = ['d0c40001']\n"
FOREIGN = f"{PREFIX}foreign_topics = "
ALIASES = f"{PREFIX}[foreign_aliases]\n"
UUID = "d0c40001-0000-4000-8000-000000000001"

MISTAKES = {
    "foreign topics of an unknown make": (f"{FOREIGN}['room-assistant']\n", "foreign_topics.0", "theengs"),
    "a wildcard in foreign topics": (f"{FOREIGN}['theengs:+']\n", "foreign_topics.0", "pattern"),
    "a base for espresense": (f"{FOREIGN}['espresense:x']\n", "foreign_topics.0", "pattern"),
    "foreign topics named twice": (f"{FOREIGN}['theengs', 'theengs:home']\n", "foreign_topics", "twice"),
    "foreign topics within others": (f"{FOREIGN}['theengs:a/b', 'theengs:a']\n", "foreign_topics", "within another"),
    "foreign topics under those of espresense": (
        f"{FOREIGN}['espresense', 'theengs:espresense']\n",
        "foreign_topics",
        "within another",
    ),
    "foreign topics under our own": (f"{FOREIGN}['theengs:doorchime/v1']\n", "foreign_topics", "own"),
    "too many foreign topics": (
        f"{FOREIGN}[{','.join(repr(f'theengs:b{n}') for n in range(9))}]\n",
        "foreign_topics",
        "8",
    ),
    "foreign topics without prefixes": ("foreign_topics = ['espresense']\n", "foreign_topics", "prefixes"),
    "an alias for somebody else's beacon": (f"{ALIASES}anna = 'f{UUID[1:]}-1-1'\n", "foreign_aliases", "prefixes"),
    "an alias with a minor too large": (f"{ALIASES}anna = '{UUID}-1-70000'\n", "foreign_aliases", "65535"),
    "an alias for half a beacon": (f"{ALIASES}anna = '{UUID}'\n", "foreign_aliases.anna", "pattern"),
    "an alias that is no level of a topic": (f"{ALIASES}'a/b' = '{UUID}-1-1'\n", "foreign_aliases", "pattern"),
    "an unknown field": ("prot = 1\n", "prot", "no setting"),
    "a table nobody knows": ("[mqtt]\nhost = 'x'\n", "mqtt", "no setting"),
    "a port too large": ("port = 70000\n", "port", "65535"),
    "a word for a number": ("visit_grace_s = 'long'\n", "visit_grace_s", "integer"),
    "an unknown database": ("database = 'mysql://x'\n", "database", "sqlite:PATH"),
    "a database without a path": ("database = 'sqlite:'\n", "database", "sqlite:PATH"),
    "a broker that is not MQTT": ("broker_url = 'http://x:1'\n", "broker_url", "mqtt://host:port"),
    "a password in the URL": ("broker_url = 'mqtt://u:hunter2@x'\n", "broker_url", "broker_password_file"),
    "a port out of range in the URL": ("broker_url = 'mqtt://x:99999'\n", "broker_url", ""),
    "a short prefix": ("prefixes = ['d0c4']\n", "prefixes.0", "8 lower-case"),
    "capitals in the tenant": ("tenant = 'ACME'\n", "tenant", "pattern"),
    "a tomorrow's file": ("version = 2\n", "version", "1"),
    "no time to stop": ("stop_s = 60\n", "stop_s", "9"),
    "not TOML": ("port 8080\n", "", "not TOML"),
}


@pytest.mark.parametrize(("text", "field", "hint"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_names_file_field_and_remedy(file: Path, text: str, field: str, hint: str) -> None:
    file.write_text(text)
    with pytest.raises(BadConfig) as caught:
        load(file)
    message = str(caught.value)
    assert str(file) in message
    assert field in message
    assert hint in message
    assert "hunter2" not in message


def test_all_mistakes_are_told_at_once(file: Path) -> None:
    file.write_text("port = -1\nqueue_max = 0\n")
    with pytest.raises(BadConfig) as caught:
        load(file)
    assert len(str(caught.value).splitlines()) == 2


def test_a_missing_file_says_how_to_make_one(file: Path) -> None:
    with pytest.raises(BadConfig, match="hub init"):
        load(file)


def test_a_misspelt_environment_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOORCHIME_HUB_PROT", "1")
    with pytest.raises(BadConfig, match="DOORCHIME_HUB_PROT"):
        load(None)


def test_a_bad_environment_variable_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("")
    monkeypatch.setenv("DOORCHIME_HUB_PORT", "many")
    with pytest.raises(BadConfig, match="environment variable DOORCHIME_HUB_PORT: port"):
        load(file)


def test_a_list_that_is_not_json_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOORCHIME_HUB_PREFIXES", "d0c40001")
    with pytest.raises(BadConfig, match="prefixes"):
        load(None)


def test_every_setting_is_described_and_every_number_bounded() -> None:
    for name, field in HubConfig.model_fields.items():
        assert field.description, name
        if field.annotation in (int, float):
            bounds = {type(item).__name__ for item in field.metadata}
            assert {"Ge", "Le"} <= bounds, name


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(None).port = 1


class TestSecretFile:
    def test_read(self, tmp_path: Path) -> None:
        path = tmp_path / "secret"
        path.write_text("ab" * 32 + "\n")
        path.chmod(0o600)
        assert read_secret(path) == b"\xab" * 32

    @pytest.mark.parametrize(
        ("text", "mode", "hint"),
        [
            (None, 0o600, "hub init"),
            ("ab" * 32, 0o644, "chmod 600"),
            ("ab" * 31, 0o600, "64 hexadecimal"),
            ("zz" * 32, 0o600, "64 hexadecimal"),
            ("ä" * 32, 0o600, "not text"),
        ],
    )
    def test_mistakes(self, tmp_path: Path, text: str | None, mode: int, hint: str) -> None:
        path = tmp_path / "secret"
        if text is not None:
            path.write_text(text)
            path.chmod(mode)
        with pytest.raises(BadConfig, match=hint) as caught:
            read_secret(path)
        assert text is None or text not in str(caught.value)

    def test_broker_password(self, tmp_path: Path) -> None:
        path = tmp_path / "password"
        path.write_text("hunter2\n")
        assert read_password(path) == "hunter2"
        assert read_password(None) is None
        path.write_text("")
        with pytest.raises(BadConfig, match="empty"):
            read_password(path)
