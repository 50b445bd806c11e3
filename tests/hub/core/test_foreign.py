"""Who is here, by listeners of another make: enter, exit, and what a silence proves."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hub.core import foreign, visits
from hub.core.foreign import (
    BREAK_MS,
    ENTER_DBM,
    ERROR_MS,
    GATES,
    PACES,
    SILENCE_MAX_MS,
    WEAK_DB,
    WEAK_MS,
    Kind,
    Life,
    Report,
    Source,
    accounted,
    beacon_of,
    hear,
    look,
    new_account,
    prolong,
    silence_ms,
    witnessed_ms,
)
from hub.core.grants import MAX_LOCK_ERROR_MS
from hub.core.visits import UNKNOWN_MS
from hub.core.zones import OURS

ESP = Kind.ESPRESENSE
SILENCE_MIN_MS = GATES[ESP].silence_ms
KEY = ("default", "e-shelf", "p1")
BEACON = beacon_of("d0c41e02-0000-4000-8000-000000000000-1-2")


def report(rssi_dbm=-70.0, kind=Kind.ESPRESENSE):
    return Report(Source(kind.value, "shelf"), BEACON, rssi_dbm)


def hear_all(*levels, every_ms=5_000, kind=Kind.ESPRESENSE, track=None, from_ms=0):
    """The track and the kinds of facts after reports at a steady pace."""
    kinds = []
    for number, level in enumerate(levels):
        track, fact = hear(track, KEY, report(level, kind), from_ms + number * every_ms, ENTER_DBM)
        kinds.append(fact.kind)
    return track, kinds


@pytest.mark.parametrize(
    ("kind", "levels", "kinds"),
    [
        (Kind.ESPRESENSE, (-70, -70, -70), ["sample", "enter", "sample"]),
        (Kind.ESPRESENSE, (-81, -79, -90), ["sample", "enter", "sample"]),
        (Kind.ESPRESENSE, (-90, -90, -70), ["sample", "sample", "enter"]),
        (Kind.ESPRESENSE, (-90, -90, -75), ["sample", "sample", "sample"]),
        (Kind.THEENGS, (-70, -70, -70), ["sample", "sample", "enter"]),
    ],
)
def test_enough_reports_strong_enough_let_somebody_in(kind, levels, kinds):
    assert hear_all(*levels, kind=kind)[1] == kinds


def test_reports_too_far_apart_do_not_add_up():
    within_ms = GATES[Kind.ESPRESENSE].within_ms
    assert hear_all(-60, -60, every_ms=within_ms)[1] == ["sample", "sample"]
    assert hear_all(-60, -60, every_ms=within_ms - 1)[1] == ["sample", "enter"]


def test_weak_for_long_is_gone_and_must_enter_anew():
    weak = ENTER_DBM - WEAK_DB - 1
    track, kinds = hear_all(-70, -70, *[weak] * 7)
    assert kinds == ["sample", "enter", *["sample"] * 6, "exit"]
    assert WEAK_MS == 6 * 5_000
    track, kinds = hear_all(-70, -70, track=track, from_ms=45_000)
    assert kinds == ["sample", "enter"]


def test_one_good_report_ends_a_weak_spell():
    weak = ENTER_DBM - WEAK_DB - 1
    _, kinds = hear_all(-70, -70, *[weak] * 5, -80, *[weak] * 6)
    assert "exit" not in kinds


def test_a_silence_that_the_node_witnessed_is_an_exit_at_the_last_report():
    track, _ = hear_all(-70, -70, -70)
    assert (track.heard_at_ms, track.due_ms) == (10_000, 10_000 + SILENCE_MIN_MS)
    left, fact = look(track, ESP, Life(0, 10_000 + SILENCE_MIN_MS), track.due_ms)
    assert (left, fact) == (None, foreign.Fact("exit", 10_000))


@pytest.mark.parametrize(
    "life",
    [
        None,  # a hub that has just started, a line that broke, a node that said it goes
        Life(0, 29_999),  # the node itself has been silent since
        Life(15_000, 34_999),  # it was away in between
    ],
)
def test_a_silence_that_nobody_witnessed_proves_nothing(life):
    track, _ = hear_all(-70, -70, -70)
    left, fact = look(track, ESP, life, 40_000)
    assert fact is None
    assert left == replace(track, due_ms=40_000 + foreign.LOOK_AGAIN_MS)


def test_what_nobody_can_tell_is_given_up_without_an_exit():
    track, _ = hear_all(-70, -70)
    assert look(track, ESP, None, 5_000 + UNKNOWN_MS) == (None, None)


def test_somebody_who_never_entered_is_forgotten():
    track, _ = hear_all(-90)
    assert look(track, ESP, None, track.due_ms) == (None, None)


def test_after_a_long_absence_a_report_starts_over():
    track, _ = hear_all(-70, -70)
    track, fact = hear(track, KEY, report(), 5_000 + UNKNOWN_MS, ENTER_DBM)
    assert (fact.kind, track.present, track.gaps) == ("sample", False, [])


def test_the_silence_follows_the_rhythm_of_the_reports():
    assert silence_ms(hear_all(*[-70] * 10)[0], ESP) == SILENCE_MIN_MS
    assert silence_ms(hear_all(*[-70] * 10, every_ms=12_000)[0], ESP) == 48_000
    slow = hear_all(*[-70] * 10, every_ms=18_000)[0]
    assert silence_ms(slow, ESP) == 72_000
    slow = hear_all(*[-70] * 10, every_ms=70_000, track=slow, from_ms=9 * 18_000 + 70_000)[0]
    assert silence_ms(slow, ESP) == SILENCE_MAX_MS
    away = hear(slow, KEY, report(), slow.heard_at_ms + SILENCE_MAX_MS + 1, ENTER_DBM)[0]
    assert away.gaps == slow.gaps, "an outage is not the beacon's rhythm"
    burst = hear_all(*[-70] * 30, every_ms=100, kind=Kind.THEENGS)[0]
    assert burst.gaps == [], "several frames of one scan are no rhythm"
    assert silence_ms(burst, Kind.THEENGS) == 60_000
    scans = hear_all(*[-70] * 10, every_ms=50_000, kind=Kind.THEENGS)[0]
    assert silence_ms(scans, Kind.THEENGS) == SILENCE_MAX_MS


def test_life_goes_on_until_it_breaks():
    life = prolong(None, 1_000)
    assert life == Life(1_000, 1_000)
    life = prolong(life, 1_000 + BREAK_MS)
    assert life == Life(1_000, 1_000 + BREAK_MS)
    assert prolong(life, 1_001 + 2 * BREAK_MS) == Life(1_001 + 2 * BREAK_MS, 1_001 + 2 * BREAK_MS)


def test_an_account_adds_up_or_is_found():
    row = new_account("default", "e", 0)
    assert accounted(row)
    assert accounted(replace(row, received=4, committed=1, consent_refused=1, identity_refused=1, lost=1))
    assert not accounted(replace(row, received=2, committed=1))
    assert not accounted(replace(row, received=0, committed=1, lost=-1))


def test_the_constants_keep_what_others_rely_on():
    assert SILENCE_MAX_MS < visits.SILENCE_MS, "an exit must come before the visit is unknown"
    assert BREAK_MS < SILENCE_MAX_MS
    assert ERROR_MS <= MAX_LOCK_ERROR_MS
    for kind in Kind:
        assert PACES[kind].stale_ms > OURS.stale_ms
        assert PACES[kind].hold_ms > 5_000
        assert GATES[kind].reports >= 2
        assert GATES[kind].silence_ms < SILENCE_MAX_MS


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400_000), st.floats(-110, -30)), max_size=80), st.sampled_from(list(Kind)))
def test_a_row_stays_small_and_its_deadline_lies_ahead(steps, kind):
    track, now_ms = None, 0
    for gap_ms, level in steps:
        now_ms += gap_ms
        track, fact = hear(track, KEY, report(level, kind), now_ms, ENTER_DBM)
        assert len(track.recent) <= GATES[kind].reports
        assert len(track.gaps) <= foreign.GAPS_MAX
        assert now_ms + GATES[kind].silence_ms <= track.due_ms <= now_ms + SILENCE_MAX_MS
        assert fact.at_ms == now_ms


class Node(RuleBasedStateMachine):
    """One person at one node, with breaks of every kind; checked against what truly happened."""

    def __init__(self):
        super().__init__()
        self.now_ms, self.track, self.life = 0, None, None
        self.inside, self.quiet_ms = False, 0

    def told(self, fact):
        if fact is None:
            return
        if fact.kind == "enter":
            assert not self.inside
            self.inside = True
        elif fact.kind == "exit":
            assert self.inside
            self.inside = False

    @rule(gap_ms=st.integers(1, 30_000), level=st.floats(-100, -40))
    def hear(self, gap_ms, level):
        self.wait(gap_ms)
        if self.track is None or self.now_ms - self.track.heard_at_ms >= UNKNOWN_MS:
            self.inside = False
        self.track, fact = hear(self.track, KEY, report(level), self.now_ms, ENTER_DBM)
        self.told(fact)
        self.sign()
        self.quiet_ms = self.now_ms

    @rule(gap_ms=st.integers(1, 100_000))
    def node_speaks_of_others(self, gap_ms):
        self.wait(gap_ms)
        self.sign()

    @rule()
    def hub_or_line_breaks(self):
        self.life = None

    def sign(self):
        self.life = prolong(self.life, self.now_ms)

    def wait(self, gap_ms):
        self.now_ms += gap_ms
        self.look()

    @rule()
    def look(self):
        if self.track is None or self.track.due_ms > self.now_ms:
            return
        was = self.track
        self.track, fact = look(self.track, ESP, self.life, self.now_ms)
        if fact is not None:
            witnessed = self.life.last_ms - max(self.quiet_ms, self.life.since_ms)
            assert witnessed >= silence_ms(was, ESP), "an exit that nobody could have seen"
            assert self.life.since_ms <= self.life.last_ms <= self.now_ms
            assert fact.at_ms == self.quiet_ms
        elif self.track is None:
            self.inside = False
        self.told(fact)

    @invariant()
    def present_is_what_was_told(self):
        assert (self.track is not None and self.track.present) == self.inside
        if self.track is not None:
            assert 0 <= witnessed_ms(self.track, self.life) <= self.now_ms


TestNode = Node.TestCase
TestNode.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
