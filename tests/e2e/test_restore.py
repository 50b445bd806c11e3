"""A backup taken while events stream in, put back later; edges run on; what is gone is counted to the event."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.e2e.crowd import ACCOUNTS, Crowd, asked, outbox, present, settled
from tests.e2e.system import System, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

UPTO = "SELECT edge, boot, upto FROM edge_boot"


def watermarks(path):
    return {(edge, boot): upto for edge, boot, upto in asked(path, UPTO)}


async def test_a_backup_under_load_is_sound_and_what_came_after_it_is_lost_exactly_and_counted(tmp_path):
    people = 4
    async with System(tmp_path, edge={"sample_interval_s": 0.2}) as system:
        config = ("--config", str(system.hub_toml))
        phones = [await system.enrol() for _ in range(people)]
        async with Crowd(system, phones) as crowd:
            for number in range(people - 1):
                crowd.place(number, ("door", "floor")[number % 2])
            await present(system, people - 1)
            copy = tmp_path / "copy.db"  # events stream in meanwhile
            await asyncio.to_thread(system.cli, "hub", "backup", str(copy), *config)
            found = await asyncio.to_thread(audit_of, system, copy)
            assert found["invariant_violations"] == 0, found
            old = watermarks(copy)

            async def further():
                now = {edge["edge"]: edge["upto"] for edge in (await system.reports())["edges"]}
                return all(now[edge] > upto + 20 for (edge, _), upto in old.items())

            await until(further, "events after the backup")
            refused = system.cli("hub", "restore", str(copy), *config, check=False)
            assert refused.returncode == 1
            assert "stop that first" in refused.stderr
            system.hub.stop()
            done = json.loads(system.cli("hub", "restore", str(copy), *config, "--json").stdout)
            replaced = Path(done["replaced"])
            gone = {key: first_held(system, *key) - 1 for key in old}  # deleted on the newer hub's word
            assert all(gone[key] <= upto for key, upto in watermarks(replaced).items()), "and on nobody else's"
            assert all(gone[key] > upto for key, upto in old.items()), "or nothing is tested"
            assert (done["secret"], done["people"], done["edges"]) == ("fits", people, 2)
            assert watermarks(tmp_path / "hub.db") == old
            system.hub.start()
            await system.hub_ready()
            crowd.place(people - 1, "floor")
            await present(system, people)
            for number in range(people):
                crowd.leave(number)
            await settled(system)
        lost = dict(asked(tmp_path / "hub.db", "SELECT edge || '/' || boot, lost FROM edge_boot"))
        for (edge, boot), upto in old.items():
            assert lost[f"{edge}/{boot}"] == gone[edge, boot] - upto, "every event after the backup, and no other"
        ranges = asked(tmp_path / "hub.db", "SELECT edge, boot, first_seq, seq FROM loss")
        assert {(edge, boot): (first, seq) for edge, boot, first, seq in ranges} == {
            key: (upto + 1, gone[key]) for key, upto in old.items()
        }
        accounts = (await system.reports())["accounts"]
        assert accounts["upto"] == sum(accounts[part] for part in ACCOUNTS)
        code, found = system.audit()
        assert code == 0, found


def first_held(system, edge, boot):
    """The oldest sequence of a start that its edge still has; the next one to come when it has none."""
    found = asked(
        outbox(system, edge),
        "SELECT coalesce((SELECT min(first_seq) FROM event WHERE boot_no = no), last_seq + 1) FROM boot "
        f"WHERE boot = '{boot}'",
    )
    return found[0][0]


def audit_of(system, copy):
    """What `hub audit` says of a copy, where it lies."""
    other = copy.with_suffix(".toml")
    other.write_text(system.hub_toml.read_text().replace(system.database, f"sqlite:{copy}"))
    return json.loads(system.cli("hub", "audit", "--json", "--config", str(other), check=False).stdout)
