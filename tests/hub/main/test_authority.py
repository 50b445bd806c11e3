"""The CA on disk and the broker's files: made once, guarded, and no wider than they must be."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hub.config import HubConfig
from hub.core.authority import SERVER_DAYS, hosts_of, read_request
from hub.main.authority import load_authority
from hub.main.broker_files import BrokerFiles, acl_text, render
from hub.main.cli import app
from hub.stores import open_store
from hub.usecases.catalogue import EdgeSaid
from hub.usecases.claims import Rights, WantedClaim, make_claim, use_claim
from tests.fakes import ManualClock
from tests.hub.build import NOON_MS, TENANT, Ids, shop
from tests.mosquitto import DAY_MS, Ca, csr
from wire.errors import BadConfig

SHIPPED = Path(__file__).resolve().parents[3] / "firmware_config"
BROKER = "mqtts://broker.shop:8883"


@pytest.fixture
def home(tmp_path):
    """A hub's settings file, made by `hub init`."""
    run(tmp_path / "hub.toml", "init")
    with (tmp_path / "hub.toml").open("a") as file:
        file.write(f'edge_broker_url = "{BROKER}"\n')
    return tmp_path


def run(settings, *words, fails=False):
    said = CliRunner().invoke(app, [*words, "--config", str(settings)])
    assert (said.exit_code != 0) == fails, said.output
    return said.output


def test_init_makes_a_ca_beside_the_secret_readable_by_its_owner_only(home):
    folder = home / "doorchime-ca"
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes == {"ca.key": 0o600, "hub.pem": 0o600, "ca.pem": 0o644}
    assert folder.stat().st_mode & 0o777 == 0o700
    found = json.loads(run(home / "hub.toml", "ca", "show", "--json"))["fingerprint"]
    assert found == load_authority(folder).fingerprint
    again = json.loads(run(home / "hub.toml", "ca", "init", "--json"))
    assert again == {"fingerprint": found, "made": False}


def test_a_key_that_others_can_read_is_refused(home):
    (home / "doorchime-ca" / "ca.key").chmod(0o640)
    assert "chmod 600" in run(home / "hub.toml", "ca", "show", fails=True)


def test_a_key_of_another_ca_is_refused(home, tmp_path):
    (home / "doorchime-ca" / "ca.pem").write_text(Ca(tmp_path / "other").authority.pem)
    assert "does not belong to its certificate" in run(home / "hub.toml", "ca", "show", fails=True)


def test_a_lost_ca_is_not_replaced_while_edges_hold_its_certificates(home):
    config = HubConfig(database=f"sqlite:{home / 'doorchime.db'}")
    store, authority = open_store(config.database), load_authority(home / "doorchime-ca")
    with store.write() as tx:
        tx.put([shop()])
        made = make_claim(
            tx, TENANT, WantedClaim("edge-a", EdgeSaid("s1", None, False), "k"), bytes(24), NOON_MS, Ids()
        )
        use_claim(tx, TENANT, made.text, read_request(csr("edge-a")[0]), authority, bytes(16), NOON_MS)
    store.close()
    (home / "doorchime-ca" / "ca.key").unlink()
    assert "restore the folder" in run(home / "hub.toml", "ca", "init", fails=True)
    assert "restore the folder" in run(home / "hub.toml", "init", fails=True)


def test_a_server_certificate_is_for_the_names_asked(home):
    run(home / "hub.toml", "ca", "issue", "hub.example", "192.0.2.1", "--out", str(home / "api.pem"))
    names, _ = hosts_of((home / "api.pem").read_bytes())
    assert names == ["hub.example", "192.0.2.1"]
    assert (home / "api.pem").stat().st_mode & 0o777 == 0o600
    again = run(home / "hub.toml", "ca", "issue", "hub.example", "--out", str(home / "api.pem"), fails=True)
    assert "exists" in again


def test_broker_config_needs_to_know_how_edges_reach_it(tmp_path):
    run(tmp_path / "hub.toml", "init")
    said = run(tmp_path / "hub.toml", "broker-config", "--out", str(tmp_path / "b"), fails=True)
    assert "edge_broker_url" in said


def test_broker_config_says_what_it_wrote(home):
    said = run(home / "hub.toml", "broker-config", "--out", str(home / "b"))
    assert "doorchime.acl" in said
    assert "reload mosquitto" in said
    assert "wrote" not in run(home / "hub.toml", "broker-config", "--out", str(home / "b"))


# -- the files -----------------------------------------------------------------------------------------------------


def sections(text):
    """User → lines of an ACL."""
    found, user = {}, None
    for line in text.splitlines():
        if line.startswith("user "):
            user = line.removeprefix("user ")
        elif line and not line.startswith("#"):
            found.setdefault(user, set()).add(line)
    return found


def test_the_hub_may_here_what_it_may_in_the_acl_for_passwords():
    ours = sections(acl_text([]))
    shipped = sections((SHIPPED / "acl").read_text("utf-8"))
    assert ours == {"doorchime-hub": shipped["doorchime-hub"]}


def test_an_edge_has_no_pattern_and_no_wildcard():
    text = acl_text([("vienna-1", "edge-a"), ("graz-1", "edge-b")])
    assert "pattern" not in text
    found = sections(text)
    assert found.keys() == {"doorchime-hub", "edge-a", "edge-b"}
    for edge, store in (("edge-a", "vienna-1"), ("edge-b", "graz-1")):
        assert len(found[edge]) == 8
        assert not [line for line in found[edge] if set("+#%$") & set(line) or f"/{store}/{edge}/" not in line]


@pytest.fixture
def rendered(tmp_path):
    ca = Ca(tmp_path / "ca", at_ms=NOON_MS)

    def again(at_ms=NOON_MS, ca=ca, edges=(), **settings):
        config = HubConfig(**({"edge_broker_url": BROKER, "prefixes": ["d0c41e02"]} | settings))
        return render(tmp_path / "b", config, ca.authority, Rights(list(edges), []), at_ms, ca.random)

    again.folder = tmp_path / "b"
    return again


def test_the_brokers_certificate_is_renewed_in_its_last_third_and_keeps_its_names(rendered):
    rendered()
    names, _ = hosts_of((rendered.folder / "broker.pem").read_bytes())
    assert names == ["broker.shop", "127.0.0.1"]
    assert rendered(NOON_MS + SERVER_DAYS * DAY_MS * 2 // 3 - DAY_MS) == ["crl.pem"]
    assert "broker.pem" in rendered(NOON_MS + SERVER_DAYS * DAY_MS * 2 // 3 + DAY_MS)
    changed = rendered(NOON_MS + SERVER_DAYS * DAY_MS * 2 // 3 + DAY_MS, edge_broker_url="mqtts://new.shop:8883")
    assert changed == ["broker.key", "broker.pem"]
    names, _ = hosts_of((rendered.folder / "broker.pem").read_bytes())
    assert names == ["new.shop", "127.0.0.1", "broker.shop"]


def test_another_ca_makes_everything_anew(rendered, tmp_path):
    rendered()
    assert set(rendered(ca=Ca(tmp_path / "other", seed=2, at_ms=NOON_MS))) == {
        "ca.pem",
        "broker.key",
        "broker.pem",
        "crl.pem",
    }


def test_listeners_of_another_make_and_users_of_ones_own_have_their_lines(rendered):
    rendered()
    (rendered.folder / "local.acl").write_text("user watch\ntopic read doorchime/v1/#\n")
    assert rendered(foreign_topics=["espresense"]) == ["doorchime.acl"]
    found = sections((rendered.folder / "doorchime.acl").read_text())
    assert "topic read espresense/devices/+/+" in found["doorchime-hub"]
    assert found["watch"] == {"topic read doorchime/v1/#"}


def test_a_folder_that_cannot_be_written_is_named(rendered):
    rendered.folder.write_text("a file")
    with pytest.raises(BadConfig, match="must be able to write"):
        rendered()


async def test_the_running_hub_stops_at_once_where_it_cannot_write(tmp_path):
    (tmp_path / "b").write_text("a file")
    ca = Ca(tmp_path / "ca")
    config = HubConfig(edge_broker_url=BROKER, broker_dir=tmp_path / "b")
    files = BrokerFiles(config, tmp_path / "b", ca.authority, open_store("memory:"), ManualClock(), ca.random)
    files.changed()  # before it runs: nobody is waiting, and nothing breaks
    with pytest.raises(BadConfig):
        await files.run()
