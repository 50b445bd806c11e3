"""Somebody who is forgotten is also taken out of what was set aside; the rest can still be replayed."""

import json

import pytest

from hub.core import watermark
from hub.core.model import EdgeBoot, Profile, Quarantine, Visit
from hub.usecases import presence
from hub.usecases.me import erase
from tests.hub.build import NOON_MS, RULES, TENANT, batch, beacon, event, house, lost, person, sample
from tests.hub.usecases.test_presence import Hub


@pytest.fixture
def hub(store):
    hub = Hub(store)
    with store.write() as tx:
        house(tx)
        for number in (1, 2):
            person(tx, number)
    return hub


def aside(hub, *events, **more):
    with hub.store.write() as tx:
        presence.set_aside(tx, batch(*events, **more), "KeyError in the hub", RULES, NOON_MS)


def forget(hub, profile="p1"):
    with hub.store.write() as tx:
        return erase(tx, RULES, profile, NOON_MS + 1000, hub.ids)


def replay(hub):
    with hub.store.write() as tx:
        return [
            presence.replay(tx, row, RULES, NOON_MS + 2000, hub.ids) for row in tx.find(Quarantine, {"tenant": TENANT})
        ]


def test_a_whole_message_loses_the_persons_events_and_nobody_elses(hub):
    aside(hub, event(1, "enter", who=1), event(2, "enter", who=2), sample(3, who=1), sample(4, who=2))
    assert forget(hub)["quarantine"] == 1
    events = json.loads(hub.one(Quarantine).body)["events"]
    assert [(one["seq"], one["beacon"]["minor"]) for one in events] == [(2, 2), (4, 2)]
    assert replay(hub) == [2]
    assert [row.profile for row in hub.all(Visit)] == ["p2"]
    row = hub.one(EdgeBoot)
    assert (row.committed, row.quarantined, row.upto) == (2, 2, 4)
    assert watermark.accounted(row)


def test_a_message_about_nobody_else_goes(hub):
    aside(hub, event(1, "enter"), lost(2, 5, samples=4))
    aside(hub, event(1, "enter", who=2), edge="e-floor")
    assert forget(hub)["quarantine"] == 1
    assert hub.one(Quarantine).edge == "e-floor"


def test_what_nobody_could_read_loses_its_body_where_a_beacon_may_be_in_it(hub):
    written = str(beacon(1).uuid)
    bodies = {
        "a": "{'seq': 5, 'beacon': {'uuid': '" + written + "', 'major': 0, 'minor': 1}, 'n': 'x'}",
        "b": '{"v":1,"beacon":"' + written.replace("-", "").upper() + "0001",
        "c": "{'seq': 6, 'beacon': 5}",
    }
    rows = [Quarantine(TENANT, name, "e", "b", 0, "theirs", "why", body, NOON_MS) for name, body in bodies.items()]
    ours = Quarantine(TENANT, "d", "e", "b", 0, "ours", "why", "written by another version: " + written, NOON_MS)
    with hub.store.write() as tx:
        tx.put([*rows, ours])
    assert forget(hub)["quarantine"] == 3
    assert {row.quarantine: row.body for row in hub.all(Quarantine)} == {"a": "", "b": "", "c": bodies["c"], "d": ""}
    assert {row.reason for row in hub.all(Quarantine)} == {"why"}


def test_a_quarantine_of_many_pages_is_searched_whole(hub):
    body = batch(event(1, "enter"), event(2, "enter", who=2)).read.message.model_dump_json()
    with hub.store.write() as tx:
        tx.put([Quarantine(TENANT, f"q{n:04}", "e-door", "b1", 1, "ours", "why", body, NOON_MS) for n in range(450)])
    assert forget(hub)["quarantine"] == 450
    assert {len(json.loads(row.body)["events"]) for row in hub.all(Quarantine)} == {1}
    assert [row.profile for row in hub.all(Profile)] == ["p2"]


def test_events_beyond_a_gap_are_not_set_aside_and_count_once_when_they_come_again(hub):
    aside(hub, event(1, "enter"), sample(2), sample(4))
    assert hub.one(EdgeBoot).upto == 2
    hub.send(sample(3), sample(4))
    assert replay(hub) == [2]
    row = hub.one(EdgeBoot)
    assert (row.committed, row.quarantined, row.upto) == (4, 0, 4)
    assert watermark.accounted(row)
