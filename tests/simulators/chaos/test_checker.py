"""The judge: silent on a clean run, and every single thing that can go wrong makes it speak."""

import json
from copy import deepcopy

import pytest

from simulators.chaos.checker import CHARGES, figures, judge
from simulators.chaos.evidence import Outbox, Said, Told
from tests.simulators.chaos.clean_run import ACCOUNT, clean, event, guest


def test_a_clean_run_is_left_alone():
    assert judge(clean()) == []


def test_the_figures_are_those_of_the_run():
    found = figures(clean())
    assert found["events_numbered"] == 8
    assert (found["committed"], found["consent_refused"], found["identity_refused"], found["lost"]) == (6, 1, 1, 0)
    assert found["events_sent_again"] == 2
    assert found["starts_of_edges"] == 2
    assert found["visits_opened_late"] == found["pushes_lost_by_broker"] == 0


def row(of, **change):
    def act(found):
        rows = getattr(found, of)
        rows[0].update(change)

    return act


def account(boot, **change):
    return lambda found: found.accounts["door", boot].update(change)


def put_wire(place, *messages):
    return lambda found: found.wire.__setitem__(slice(place, place + 1), messages)


def again(of, **change):
    return lambda found: getattr(found, of).append(getattr(found, of)[0] | change)


def drop(of):
    return lambda found: getattr(found, of).pop()


def lost_row(found):
    """The hub says that it committed five, and holds four."""
    found.accounts["door", "b1"].update(committed=2)


BREAKAGES = {
    "a message nobody can read": (lambda found: found.unreadable.append("why"), "every message can be read"),
    "a lost row": (lost_row, "every sequence is in one account"),
    "a boot is forgotten": (lambda found: found.accounts.pop(("door", "b2")), "every sequence is in one account"),
    "a watermark too low": (account("b2", upto=2, committed=2), "every sequence is in one account"),
    "a watermark too high": (account("b2", upto=4, committed=4), "every sequence is in one account"),
    "a boot nobody had": (
        lambda found: found.accounts.update({("door", "b9"): ACCOUNT | {"upto": 0}}),
        "every sequence is in one account",
    ),
    "one taken twice for another skipped": (
        account("b1", committed=4, consent_refused=0), "every event is booked rightly",
    ),
    "an unknown beacon": (lambda found: found.guests.pop(), "every event is booked rightly"),
    "something set aside": (account("b2", committed=2, quarantined=1), "every event is booked rightly"),
    "a counted loss": (
        lambda found: found.losses.append({"edge": "door", "boot": "b1", "first_seq": 6, "seq": 7, "reason": "age"}),
        "nothing is lost",
    ),
    "a dropped event": (
        lambda found: found.outboxes.update(door=found.outboxes["door"]._replace(lost=1)), "nothing is lost",
    ),
    "an event that still waits": (
        lambda found: found.outboxes.update(door=found.outboxes["door"]._replace(waiting=1)),
        "what was numbered was said",
    ),
    "an event numbered and never said": (
        lambda found: found.numbered.update({("door", "b2"): 4}), "what was numbered was said",
    ),
    "a miscounted outbox": (
        lambda found: found.outboxes.update(door=found.outboxes["door"]._replace(published=9)),
        "what was numbered was said",
    ),
    "a boot without a file": (lambda found: found.numbered.pop(("door", "b2")), "what was numbered was said"),
    "a restart taken for a copied card": (row("edges", cloned_at_ms=7), "no alarm without a cause"),
    "a message set aside": (
        lambda found: found.aside.append({"edge": "door", "reason": "why"}), "no alarm without a cause",
    ),
    "an out-of-order sequence": (
        put_wire(2, Said("door", "b1", False, [event(4, "enter", 3), event(3, "sample", 1)])),
        "sequences leave an edge in order",
    ),
    "a skipped sequence": (
        put_wire(0, Said("door", "b1", False, [event(2, "enter", 2)])), "sequences leave an edge in order",
    ),
    "a number used twice": (
        put_wire(3, Said("door", "b1", False, [event(3, "sample", 1, rssi_dbm=-1)])),
        "sequences leave an edge in order",
    ),
    "an ack taken back": (put_wire(5, Told("door", "b1", 5), Told("door", "b2", 0), Told("door", "b1", 6)),
                          "an ack holds for ever"),
    "an ack before its event": (put_wire(1, Told("door", "b1", 3)), "an ack holds for ever"),
    "a split visit": (again("visits", visit="v-2"), "one stay is one visit"),
    "a lost visit": (drop("visits"), "one stay is one visit"),
    "a visit of who said no": (again("visits", visit="v-2", profile="p-2"), "one stay is one visit"),
    "a visit of nobody": (again("visits", visit="v-2", profile="p-9"), "one stay is one visit"),
    "a visit opened by a sample": (row("visits", opened_by="door/b1/3"), "one stay is one visit"),
    "a visit opened by somebody else": (row("visits", opened_by="door/b1/2"), "one stay is one visit"),
    "an exit applied before an enter": (
        row("visits", edges=json.dumps({"door": ["in", -52.0, 800]})), "events are applied in order",
    ),
    "a doubled grant": (again("grants", grant="g-2"), "each grant once"),
    "a lost grant": (drop("grants"), "each grant once"),
    "a grant of a visit that is none": (row("grants", visit="v-9"), "each grant once"),
    "a grant pushed twice": (again("pushes"), "each grant once"),
    "a grant that nobody decided": (row("decisions", grant=None), "each grant once"),
    "an offer decided twice": (
        again("decisions", decision="d-3", trigger="door/b2/1/v-1", grant=None), "each offer is decided once",
    ),
    "decisions out of order": (lambda found: found.decisions.reverse(), "each offer is decided once"),
    "a push of nothing": (again("phones", grant="g-9"), "phones hold what the hub gave"),
    "a push to somebody else": (row("phones", device="dev-2"), "phones hold what the hub gave"),
    "two offers in one visit": (again("phones", grant="g-1"), "phones hold what the hub gave"),
    "an offer in nobody's wallet": (row("grants", state="locked"), "phones hold what the hub gave"),
    "an offer in somebody else's wallet": (
        lambda found: found.guests[1].wallet.append("g-1"), "phones hold what the hub gave",
    ),
    "a redemption told and gone": (drop("redemptions"), "tills hold what the hub gave"),
    "a grant redeemed twice": (again("redemptions", redemption="r-2"), "tills hold what the hub gave"),
    "a till told twice": (again("tills", redemption="r-2"), "tills hold what the hub gave"),
    "a till told another value": (row("tills", value_bp=901), "tills hold what the hub gave"),
    "a till that was never answered": (
        lambda found: (found.tills.clear(), found.redemptions.clear()), "tills hold what the hub gave",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKAGES)
def test_whatever_is_broken_is_found(name):
    act, charge = BREAKAGES[name]
    found = deepcopy(clean())
    act(found)
    assert charge in {violation.charge for violation in judge(found)}


def test_every_charge_is_shown_to_find_something():
    assert {charge for _, charge in BREAKAGES.values()} == set(CHARGES)


def test_a_dead_edge_leaves_its_last_word_unknown():
    found = clean()
    found.wire[6] = Said("door", "b2", False, [event(1, "enter", 1), event(2, "sample", 1)])
    found.wire[7] = Told("door", "b2", 2)
    found.numbered["door", "b2"] = 2
    found.outboxes["door"] = Outbox(7, 0, 0, {"b2": 2})
    found.accounts["door", "b2"].update(upto=2, committed=2)
    for word in ("in", "unknown"):
        found.visits[0]["edges"] = json.dumps({"door": [word, -52.0, 700]})
        assert judge(found) == []
    found.visits[0]["edges"] = json.dumps({"door": ["out", -52.0, 700]})
    assert [violation.charge for violation in judge(found)] == ["events are applied in order"]


def test_a_visit_that_a_later_life_reported_may_go_without_an_offer():
    found = clean()
    found.wire[4] = Said("door", "b1", True, [event(1, "enter", 1), event(5, "sample", 1)])
    for rows in (found.grants, found.pushes, found.phones, found.tills, found.redemptions):
        rows.clear()
    found.decisions[0]["grant"] = None
    found.guests[0] = guest(1, "ann", "member")
    assert judge(found) == []
    assert figures(found)["visits_opened_late"] == 1


def test_an_open_offer_whose_push_was_lost_is_in_the_wallet():
    found = clean()
    for rows in (found.phones, found.tills, found.redemptions):
        rows.clear()
    found.grants[0]["state"] = "delivered"
    found.guests[0] = guest(1, "ann", "member", wallet=["g-1"])
    assert judge(found) == []
    assert figures(found)["pushes_lost_by_broker"] == 1
