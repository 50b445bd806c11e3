"""Only contiguous sequences are taken, each once; what is missing for good is counted exactly."""

from hypothesis import given
from hypothesis import strategies as st

from hub.core.watermark import LossRange, take
from tests.hub.build import lost, message, sample, unread
from wire.messages import Read


def read(*events, oldest_seq=1, bad=()):
    return Read(message(*events, oldest_seq=oldest_seq), list(bad), 0)


def seqs(taken):
    return [event.seq for event in taken.events]


def test_new_events_move_the_watermark():
    taken = take(0, False, read(sample(1), sample(2)))
    assert (seqs(taken), taken.upto, taken.losses) == ([1, 2], 2, [])


def test_repeats_are_counted_and_ignored():
    taken = take(2, True, read(sample(1), sample(2), sample(3)))
    assert (seqs(taken), taken.duplicates, taken.upto) == ([3], 2, 3)


def test_nothing_is_taken_beyond_a_gap():
    taken = take(2, True, read(sample(3), sample(5)))
    assert (seqs(taken), taken.gap, taken.upto) == ([3], True, 3)


def test_a_lost_range_covers_its_sequences():
    taken = take(2, True, read(lost(3, 9, samples=6, exits=1), sample(10)))
    assert taken.losses == [LossRange(3, 9, 6, 0, 1, "overflow")]
    assert (taken.lost, taken.upto) == (7, 10)


def test_of_a_lost_range_only_the_unseen_part_counts():
    taken = take(5, True, read(lost(3, 9, samples=7)))
    assert taken.losses == [LossRange(6, 9, -1, -1, -1, "overflow")]


def test_the_hub_jumps_over_what_an_edge_forgot_under_its_eyes():
    taken = take(2, True, read(sample(8), oldest_seq=8))
    assert taken.losses == [LossRange(3, 7, -1, -1, -1, "edge_forgot")]
    assert taken.upto == 8


def test_a_hub_that_has_not_committed_any_of_the_boot_itself_was_restored():
    assert take(0, False, read(sample(8), oldest_seq=8)).losses[0].reason == "hub_restored"


def test_unknown_kinds_pass_over_the_watermark():
    taken = take(0, False, read(unread(1), sample(2)))
    assert (seqs(taken), taken.unread, taken.upto) == ([2], 1, 2)


def test_bad_events_pass_in_their_place():
    taken = take(0, False, read(sample(1), sample(3), bad=[(2, {"seq": 2}, "n: not a number")]))
    assert (seqs(taken), [bad.seq for bad in taken.bad], taken.upto) == ([1, 3], [2], 3)


@given(st.lists(st.lists(st.integers(1, 30), max_size=12), max_size=30))
def test_whatever_the_order_each_sequence_is_taken_once_and_in_order(messages):
    upto, got = 0, []
    for numbers in messages:
        taken = take(upto, True, read(*(sample(n) for n in numbers)))
        got += seqs(taken)
        upto = taken.upto
    assert got == list(range(1, upto + 1))


@given(st.data())
def test_accounts_add_up_whatever_is_lost(data):
    upto, taken_count, lost_count = 0, 0, 0
    for _ in range(data.draw(st.integers(0, 10))):
        first = data.draw(st.integers(1, upto + 3))
        size = data.draw(st.integers(1, 5))
        oldest = data.draw(st.integers(1, first))
        event = lost(first, first + size - 1) if data.draw(st.booleans()) else sample(first)
        taken = take(upto, True, read(event, oldest_seq=oldest))
        taken_count, lost_count, upto = taken_count + len(taken.events), lost_count + taken.lost, taken.upto
        assert upto == taken_count + lost_count
