"""The evidence of a run in which all went well, small enough to be read."""

import json

from simulators.chaos.evidence import Evidence, Guest, Outbox, Said, Told

UUID = "d0c41e02-0000-4000-8000-00000000000{}"


def beacon(number):
    return {"uuid": UUID.format(number), "major": 1, "minor": 1}


def event(seq, kind, number, **more):
    return {"seq": seq, "kind": kind, "beacon": beacon(number), "observed_mono_ms": seq * 100, **more}


def guest(number, name, who, asked=(), wallet=()):
    return Guest(name, who, f"{UUID.format(number)}/1/1", f"p-{number}", f"dev-{number}", list(asked), list(wallet))


ACCOUNT = {"committed": 0, "consent_refused": 0, "identity_refused": 0, "quarantined": 0, "lost": 0, "duplicates": 0}


def clean():
    """One edge, two lives: a member comes and goes, somebody who said no and somebody unknown are heard."""
    first = [event(1, "enter", 1), event(2, "enter", 2), event(3, "sample", 1), event(4, "enter", 3)]
    rest = [event(5, "sample", 1)]
    second = [event(1, "enter", 1), event(2, "sample", 1), event(3, "exit", 1)]
    redemption = {"grant": "g-1", "redemption": "r-1", "value_bp": 900, "discount_minor": 90, "t_lock_ms": 5}
    return Evidence(
        wire=[
            Said("door", "b1", False, first[:2]),
            Told("door", "b1", 2),
            Said("door", "b1", False, first[2:]),
            Said("door", "b1", False, first[2:]),  # sent again, unchanged
            Said("door", "b1", True, rest),  # by the next life, which found it in the outbox
            Told("door", "b1", 5),
            Said("door", "b2", False, second),
            Told("door", "b2", 3),
        ],
        unreadable=[],
        guests=[guest(1, "ann", "member", ["g-1"]), guest(2, "bob", "refuser"), guest(3, "cy", "stranger")],
        outboxes={"door": Outbox(published=8, lost=0, waiting=0, boots={"b2": 3})},
        numbered={("door", "b1"): 5, ("door", "b2"): 3},
        accounts={
            ("door", "b1"): ACCOUNT | {"upto": 5, "committed": 3, "consent_refused": 1, "identity_refused": 1},
            ("door", "b2"): ACCOUNT | {"upto": 3, "committed": 3},
        },
        losses=[],
        visits=[{"visit": "v-1", "profile": "p-1", "opened_by": "door/b1/1",
                 "edges": json.dumps({"door": ["out", -52.0, 800]})}],
        decisions=[
            {"decision": "d-1", "trigger": "door/b1/1/v-1", "visit": "v-1", "grant": "g-1",
             "candidates": json.dumps([["welcome", 1, None, 100.5]])},
            {"decision": "d-2", "trigger": "door/b1/3/v-1", "visit": "v-1", "grant": None,
             "candidates": json.dumps([["lingering", 1, "cap:visit", 1.5]])},
        ],
        grants=[{"grant": "g-1", "visit": "v-1", "profile": "p-1", "state": "redeemed"}],
        pushes=[{"grant": "g-1", "state": "sent"}],
        redemptions=[dict(redemption)],
        edges=[{"edge": "door", "cloned_at_ms": None}],
        aside=[],
        phones=[{"device": "dev-1", "grant": "g-1"}],
        tills=[dict(redemption)],
    )  # fmt: skip
