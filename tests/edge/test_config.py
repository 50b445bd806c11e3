"""Settings of the edge: what is refused, and what it says."""

import pytest

from edge.adapters.system import boot_ms, clock_stamp, new_boot_id, wall_ms
from edge.config import LIVE, EdgeConfig, load, read_password
from wire.errors import BadConfig

GOOD = 'edge = "e1"\nstore = "s1"\nprefixes = ["d0c41e02"]\n'


def written(tmp_path, text):
    path = tmp_path / "edge.toml"
    path.write_text(text)
    return path


def test_the_least_that_is_needed(tmp_path):
    config = load(written(tmp_path, GOOD))
    assert (config.broker_host, config.broker_port, config.broker_user) == ("127.0.0.1", 1883, None)
    assert config.gates.sample_interval_ms == 1000


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("surprise = 1\n", "surprise: is no setting"),
        ("batch_max = 0\n", "batch_max"),
        ('radio = "wifi"\n', "radio"),
        ('broker_url = "mqtt://u:secret@h:1"\n', "password_file"),
        ('broker_url = "http://h"\n', "mqtt://host:port"),
        ("strong_dbm = -90\n", "fast path"),
        ("exit_silence_max_s = 10\n", "shorter"),
        ("not toml", "not TOML"),
    ],
)
def test_what_is_wrong_is_named_and_no_secret_is_repeated(tmp_path, more, told):
    with pytest.raises(BadConfig, match=told) as caught:
        load(written(tmp_path, GOOD + more))
    assert "secret" not in str(caught.value)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(BadConfig, match="prefixes"):
        load(written(tmp_path, 'edge = "e1"\nstore = "s1"\n'))
    with pytest.raises(BadConfig, match="No such file"):
        load(tmp_path / "nope.toml")


def test_the_environment_wins_and_a_misspelt_one_is_refused(tmp_path, monkeypatch):
    path = written(tmp_path, GOOD)
    monkeypatch.setenv("DOORCHIME_EDGE_BATCH_MAX", "7")
    assert load(path).batch_max == 7
    monkeypatch.setenv("DOORCHIME_EDGE_BATCHMAX", "7")
    with pytest.raises(BadConfig, match="DOORCHIME_EDGE_BATCHMAX"):
        load(path)


def test_live_settings_change_and_others_do_not(tmp_path):
    config = load(written(tmp_path, GOOD))
    assert config.changed({"enter_dbm": -70}).enter_dbm == -70
    assert set(EdgeConfig.model_fields) >= LIVE
    for bad in ({"store": "s2"}, {"enter_dbm": 5}, {"strong_dbm": -99}, {"nonsense": 1}):
        with pytest.raises(BadConfig):
            config.changed(bad)


def test_a_password_is_read_from_its_file(tmp_path):
    path = tmp_path / "password"
    path.write_text("pass word\n")
    assert read_password(path) == "pass word"
    assert read_password(None) is None
    with pytest.raises(BadConfig):
        read_password(tmp_path / "nope")


def test_the_clocks_of_this_machine_make_sense():
    stamp = clock_stamp()
    assert abs(boot_ms() + stamp.offset_ms - wall_ms()) < 5_000
    assert stamp.synced == (stamp.source == "kernel")
    assert new_boot_id() != new_boot_id()
