"""The hub's commands as their users run them: what they print, and how they end."""

import json
import stat
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from hub.config import read_secret
from hub.core.model import EdgeBoot, Quarantine, Visit
from hub.main.cli import app
from hub.stores import open_store
from hub.stores.postgres import MIGRATIONS
from hub.usecases import presence
from hub.usecases.audit import INVARIANTS
from tests.hub.build import NOON_MS, RULES, TENANT, batch, event, house, person, sample
from tests.hub.usecases.test_audit import BREAKS, Day


class Commands:
    """Runs commands on one settings file."""

    def __init__(self, home, url=None):
        self.config = home / "hub.toml"
        self.database = home / "hub.db"
        url = url or f"sqlite:{self.database}"
        self.config.write_text(f'database = "{url}"\nsecret_file = "{home / "secret"}"\nprefixes = ["d0c41e02"]\n')

    def run(self, *args, code=0):
        done = CliRunner().invoke(app, [*args, "--config", str(self.config)])
        assert done.exit_code == code, done.output
        return done.output

    def json(self, *args, code=0):
        return json.loads(self.run(*args, "--json", code=code))

    def store(self):
        return open_store(f"sqlite:{self.database}")


@pytest.fixture
def hub(tmp_path):
    return Commands(tmp_path)


def test_init_makes_everything_once_and_says_what_exists_the_second_time(hub, tmp_path):
    first = hub.json("init")
    assert first["key"].startswith("dc_")
    assert first["secret_made"]
    assert first["migrations"] == list(MIGRATIONS)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    second = hub.json("init")
    assert (second["key"], second["secret_made"], second["migrations"]) == (None, False, [])
    assert "exists" in hub.run("init")


def test_a_lost_secret_is_not_replaced_while_people_are_hashed_with_it(hub, tmp_path):
    hub.run("init")
    store = open_store(f"sqlite:{hub.database}")
    Day(store)
    store.close()
    (tmp_path / "secret").unlink()
    assert "restore it from your backup" in hub.run("init", code=1)


def test_keys_are_made_listed_without_their_secret_and_revoked(hub):
    hub.run("init")
    made = hub.json("keys", "create", "--scope", "pos", "--label", "till 1", "--store", "s1")
    listed = hub.run("keys", "list")
    assert "till 1" in listed
    assert made["key"].split("_", 2)[2] not in listed  # the secret itself may hold underscores
    assert "secret" not in json.dumps(hub.json("keys", "list"))
    assert "revoked" in hub.run("keys", "revoke", made["key_id"])
    assert "no active key" in hub.run("keys", "revoke", made["key_id"], code=1)
    assert "choose one of" in hub.run("keys", "create", "--scope", "root", "--label", "x", code=1)


def test_migrate_says_what_it_did(hub):
    assert hub.json("migrate") == {"applied": list(MIGRATIONS)}
    assert "up to date" in hub.run("migrate")


def test_check_config_names_what_is_wrong(hub):
    hub.run("init")
    assert "ok:" in hub.run("check-config")
    hub.config.write_text(hub.config.read_text() + "visit_grace_s = -1\nsurprise = 1\n")
    told = hub.run("check-config", code=1)
    assert "visit_grace_s" in told
    assert "surprise: is no setting" in told


def test_quarantine_is_listed_without_bodies_unless_asked(hub):
    hub.run("init")
    assert "nothing is set aside" in hub.run("quarantine", "list")
    store = open_store(f"sqlite:{hub.database}")
    with store.write() as tx:
        tx.put([Quarantine(TENANT, "q1", "e1", "b1", 7, "theirs", "events.0: wrong", "body-of-it", 0)])
    store.close()
    told = hub.run("quarantine", "list")
    assert "e1/b1/7" in told
    assert "body-of-it" not in told
    assert "body-of-it" in hub.run("quarantine", "list", "--bodies")
    assert hub.json("quarantine", "replay", "q1") == {"events": 0, "left": 1}
    assert "no row" in hub.run("quarantine", "replay", "nope", code=1)


def test_replay_applies_what_is_mended_and_leaves_what_still_fails(hub):
    hub.run("init")
    store = open_store(f"sqlite:{hub.database}")
    secret = read_secret(hub.config.parent / "secret")
    rules = replace(RULES, hmac_key=secret)
    enter, late = event(1, "enter"), sample(2)
    with store.write() as tx:
        house(tx)
        person(tx, key=secret)
        presence.set_aside(tx, batch(enter, edge="e-door"), "KeyError in the hub", rules, NOON_MS)
        presence.set_aside(tx, batch(late, edge="e-door"), "KeyError in the hub", rules, NOON_MS)
        presence.set_aside(tx, batch(sample(1), edge="e-floor"), "KeyError in the hub", rules, NOON_MS)
        first, *_ = tx.find(Quarantine, {"tenant": TENANT})
        tx.put([replace(first, body="not what we wrote")])
    assert hub.json("quarantine", "replay") == {"events": 2, "left": 1}
    with store.read() as tx:
        assert [one.quarantine for one in tx.find(Quarantine, {"tenant": TENANT})] == [first.quarantine]
        accounts = {row.edge: (row.committed, row.quarantined) for row in tx.find(EdgeBoot, {"tenant": TENANT})}
    assert accounts == {"e-door": (1, 1), "e-floor": (1, 0)}
    told = hub.run("quarantine", "replay")
    assert f"{first.quarantine}: left aside, it still fails (ValidationError)" in told
    assert "not what we wrote" not in told
    with store.write() as tx:
        tx.put([first])
    assert "1 events applied, 0 rows left" in hub.run("quarantine", "replay", first.quarantine)
    with store.read() as tx:
        assert tx.count(Visit, {"tenant": TENANT}) == 1
    store.close()
    assert hub.json("audit")["violations"] == []


@pytest.fixture
def day(hub, tmp_path):
    """A day as promised, in the database of the commands, with what others recorded beside it."""
    hub.run("init")
    store = open_store(f"sqlite:{hub.database}")
    found = Day(store)
    folder = tmp_path / "witness"
    folder.mkdir()
    witness = found.witness
    (folder / "phones.jsonl").write_text("".join(json.dumps(one) + "\n" for one in witness.phones))
    (folder / "tills.jsonl").write_text("".join(json.dumps(one) + "\n" for one in witness.tills))
    (folder / "published.json").write_text(json.dumps(witness.published))
    (folder / "bystanders.txt").write_text("\n".join(witness.bystanders))
    (folder / "hub.log").write_text('{"event": "serving"}\n')
    found.folder = folder
    yield found
    store.close()


def test_audit_of_a_day_as_promised_ends_well(hub, day):
    found = hub.json("audit", "--witness", str(day.folder))
    assert found == {"invariant_violations": 0, "violations": []}
    assert "every promise was kept" in hub.run("audit")


@pytest.mark.parametrize("invariant", INVARIANTS)
def test_audit_fails_for_each_invariant_broken_on_purpose(hub, day, invariant):
    BREAKS[invariant](day)
    found = hub.json("audit", "--witness", str(day.folder), code=1)
    assert invariant in {violation["invariant"] for violation in found["violations"]}
    assert found["invariant_violations"] == len(found["violations"])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hub.log", "heard feedface-feed-face-feed-facefeedface\n"),
        ("published.json", '{"e-door": 2}'),
        ("phones.jsonl", '{"device": "d", "grant": "nobody-knows", "received_at_ms": 1, "curve": {}}\n'),
        ("tills.jsonl", '{"grant": "g", "redemption": "r", "value_bp": 1, "discount_minor": 1, "t_lock_ms": 1}\n'),
    ],
)
def test_audit_fails_for_what_others_saw(hub, day, name, text):
    (day.folder / name).write_text(text)
    assert hub.json("audit", "--witness", str(day.folder), code=1)["invariant_violations"] > 0


def test_audit_says_what_is_wrong_with_a_witness(hub, day):
    assert "is no folder" in hub.run("audit", "--witness", str(day.folder / "nope"), code=1)
    (day.folder / "published.json").write_text("not json")
    assert "cannot be read" in hub.run("audit", "--witness", str(day.folder), code=1)
