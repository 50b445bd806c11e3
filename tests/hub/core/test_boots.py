"""A restart is no clone, whatever the network does to its messages; two devices are one, whatever it does."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hub.core.boots import ALARM_MS, KEPT, MARGIN_MS, RETURNS, TOLD_MS, alive, born, ended, is_cloned
from tests.hub.build import edge

AT_MS = 1_000_000


def play(signs, row=None):
    """Signs of life as (boot, sent_at_ms); the edge afterwards and how many alarms there were."""
    row, alarms = row or edge("e1", None), 0
    for boot, sent_at_ms in signs:
        row, alarm = alive(row, boot, sent_at_ms, sent_at_ms)
        alarms += alarm
    return row, alarms


@st.composite
def one_device(draw):
    """Starts one after the other, each with messages; delivered in any order, some twice."""
    at_ms, sent = 0, []
    for number in range(draw(st.integers(1, 12))):
        for _ in range(draw(st.integers(1, 5))):
            at_ms += draw(st.integers(0, 100_000))
            sent.append((f"b{number}", at_ms))
        at_ms += 1
    order = draw(st.permutations(sent + draw(st.lists(st.sampled_from(sent), max_size=5))))
    return sent, order


@given(one_device())
def test_one_device_never_raises_an_alarm(device):
    sent, order = device
    if len({boot for boot, _ in sent}) > KEPT:
        order = sent  # what is older than all that is kept may come late, but not that late
    row, alarms = play(order)
    assert alarms == 0
    assert row.boots[-1][0] == sent[-1][0]
    assert len(row.boots) <= KEPT


@given(
    st.integers(MARGIN_MS + 1, 10**6),
    st.lists(st.sampled_from("AB"), min_size=1, max_size=30),
    st.integers(0, 3),
)
def test_two_devices_always_do_once_each_was_heard_beside_the_other(pause_ms, rest, restarts):
    signs = [("A", 0), ("B", pause_ms), ("A", 2 * pause_ms)]
    signs += [(boot, (3 + n) * pause_ms) for n, boot in enumerate(rest)]
    signs += [(f"B{n}", (40 + n) * pause_ms) for n in range(restarts)] + [("A", 50 * pause_ms)]
    row, alarms = play(signs)
    assert alarms >= 1
    assert is_cloned(row, row.cloned_at_ms)


def test_a_message_sent_before_the_newer_start_proves_nothing():
    _, alarms = play([("A", 0), ("B", 10_000), ("A", 9_000), ("A", 10_000 + MARGIN_MS)])
    assert alarms == 0


def test_the_alarm_is_repeated_no_more_often_than_said_and_ends_by_itself():
    signs = [("A", AT_MS), ("B", AT_MS + 1)]
    signs += [("A", AT_MS + n) for n in range(5_000, 5_000 + 3 * TOLD_MS, 1_000)]
    row, alarms = play(signs)
    assert alarms == 3
    assert is_cloned(row, row.cloned_at_ms + ALARM_MS - 1)
    assert not is_cloned(row, row.cloned_at_ms + ALARM_MS)
    assert not is_cloned(edge("e1", None), 0)


def births(boots, row=None, known=False):
    """Births over one connection; the edge afterwards, and at which of them there was an alarm."""
    row, alarms = row or edge("e1", None), []
    for n, boot in enumerate(boots):
        row, alarm = born(row, boot, AT_MS + n, known, boots[:n])
        if alarm:
            alarms.append(n)
    return row, alarms


def test_births_in_turn_raise_the_alarm_and_births_of_one_device_do_not():
    assert births(["A", "B", "A", "B", "A", "B", "A"])[1] == [6]
    assert births(["A", "A", "A", "B", "B", "C", "D"])[1] == []
    assert births([*"AB", *"AB" * (RETURNS - 1)])[1] == [], "a broker that repeats a birth or two"


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=10),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=30),
)
def test_a_broker_that_brings_the_past_again_proves_nothing(counts, connections):
    """One device: starts one after the other, each born some times; then any part of it again, over and over."""
    said = [f"b{number}" for number, count in enumerate(counts) for _ in range(count)]
    row, alarms = births(said)
    for place, length in connections:
        row, again = births(said[place : place + length], row, known=True)
        alarms += again
    assert alarms == []
    assert row.boots[-1][0] == said[-1]


def test_a_new_start_begins_the_count_anew():
    row, alarms = births(["A", "B", "A", "A", "C", "B", "A"])
    assert alarms == []
    assert {boot: returns for boot, _, returns in row.boots} == {"A": 1, "B": 1, "C": 0}


def test_as_many_devices_in_turn_as_are_kept_are_noticed():
    names = [f"d{n}" for n in range(KEPT)]
    signs = [(name, AT_MS + 10_000 * n) for n, name in enumerate(names)]
    signs += [(name, AT_MS + 10_000 * (100 + n)) for n, name in enumerate(names)]
    assert play(signs)[1] >= 1


def test_a_start_is_the_newest_when_it_is_born_even_if_the_hubs_clock_was_set_back():
    row, _ = births(["A"])
    row, _ = born(row, "B", AT_MS - 3_600_000, False)
    assert [boot for boot, *_ in row.boots] == ["A", "B"]
    for at_ms in (AT_MS - 3_500_000, AT_MS + 3_600_000):
        row, alarm = alive(row, "B", at_ms, at_ms)
        assert not alarm


def test_a_birth_of_long_ago_that_comes_again_is_neither_new_nor_a_sign():
    row, _ = births([f"b{n}" for n in range(KEPT + 1)])
    assert born(row, "b0", AT_MS + 10**6, known=True) == (row, False)
    online = replace(row, status="online", status_boot=f"b{KEPT}")
    assert ended(online, "b0", known=True)
    assert not ended(online, "never-heard", known=False)
    fresh = edge("e1", None)
    assert born(fresh, "b0", AT_MS, known=True).edge.boots, "a hub that has just learnt to keep them"


def test_what_an_ended_start_says_is_old_and_what_an_unknown_one_says_is_new():
    row = replace(births(["A", "B"])[0], status="online", status_boot="B")
    assert ended(row, "A", True)
    assert not ended(row, "B", True)
    assert not ended(row, "C", False), "its birth may have been lost"
    assert not ended(replace(row, status="offline"), "A", True), "nobody else is there"
    assert ended(replace(row, status_boot="C"), "A", True), "C's birth was retained: state, though never heard as one"
