"""What is dropped: samples first, oldest first, in runs that merge with the losses beside them; counted exactly."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.outbox import EVERYTHING, SAMPLES, Drop, Row, as_lost, counts_of, plan, plan_all
from wire.messages import LostEvent

SIZE = 300
COUNTS = {"sample": (1, 0, 0), "enter": (0, 1, 0), "exit": (0, 0, 1), "unknown": (0, 0, 1)}


def rows(*kinds, boot_no=1, first=1):
    """One row per kind; a number n stands for a loss of n samples."""
    found, seq = [], first
    for kind in kinds:
        width = kind if isinstance(kind, int) else 1
        name, counts = ("lost", (kind, 0, 0)) if isinstance(kind, int) else (kind, COUNTS[kind])
        found.append(Row(boot_no, seq + width - 1, seq, name, SIZE, counts))
        seq += width
    return found


def test_samples_go_oldest_first_and_only_as_many_as_needed():
    assert plan(rows("enter", "sample", "sample", "sample"), 300, SAMPLES) == [Drop(1, 2, 3, (2, 0, 0))]


def test_a_kept_row_between_splits_the_loss():
    drops = plan(rows("sample", "enter", "sample"), 10**6, SAMPLES)
    assert drops == [Drop(1, 1, 1, (1, 0, 0)), Drop(1, 3, 3, (1, 0, 0))]


def test_losses_on_both_sides_join_the_run():
    assert plan(rows(4, "sample", 2, "exit"), 1, SAMPLES) == [Drop(1, 1, 7, (7, 0, 0))]


def test_a_loss_with_nothing_to_drop_beside_it_is_left_alone():
    assert plan(rows(4, "enter", "sample"), 1, SAMPLES) == [Drop(1, 6, 6, (1, 0, 0))]
    assert plan_all(rows(4)) == []


def test_with_everything_allowed_kept_rows_between_losses_go_and_all_merges():
    assert plan(rows(4, "enter", 2, "exit", "unknown"), 10**6, EVERYTHING) == [Drop(1, 1, 9, (6, 1, 2))]


def test_a_loss_never_spans_two_boots():
    both = rows("sample", "sample") + rows("sample", boot_no=2, first=3)
    assert plan(both, 10**6, SAMPLES) == [Drop(1, 1, 2, (2, 0, 0)), Drop(2, 3, 3, (1, 0, 0))]


def test_a_loss_never_spans_sequences_that_were_not_given():
    first, _, third = rows("sample", "enter", "sample")
    assert plan_all([first, third]) == [Drop(1, 1, 1, (1, 0, 0)), Drop(1, 3, 3, (1, 0, 0))]


def test_nothing_needed_nothing_dropped():
    assert plan(rows("sample"), 0, SAMPLES) == []
    assert plan([], 100, EVERYTHING) == []


@pytest.mark.parametrize(("kind", "counts"), COUNTS.items())
def test_each_kind_is_counted_once(kind, counts):
    assert counts_of({"kind": kind}) == counts


def test_a_loss_is_counted_as_what_it_stands_for_and_can_be_read_by_the_hub():
    event = as_lost(Drop(1, 3, 9, (4, 2, 1)), "overflow")
    assert counts_of(event) == (4, 2, 1)
    assert LostEvent.model_validate(event).first_seq == 3


@given(
    boots=st.lists(
        st.lists(st.sampled_from(["sample", "enter", "exit", "unknown", 1, 3]), max_size=20), min_size=1, max_size=3
    ),
    need=st.integers(0, 8_000),
    kinds=st.sampled_from([SAMPLES, EVERYTHING]),
)
def test_whatever_is_dropped_is_covered_once_counted_exactly_and_of_the_kinds_allowed(boots, need, kinds):
    given_rows = [row for no, one in enumerate(boots) for row in rows(*one, boot_no=no)]
    drops = plan(given_rows, need, kinds)
    covered = Counter()
    for drop in drops:
        inside = [r for r in given_rows if r.boot_no == drop.boot_no and drop.first_seq <= r.first_seq <= drop.seq]
        assert drop.seq - drop.first_seq + 1 == sum(row.seq - row.first_seq + 1 for row in inside)
        assert drop.counts == tuple(sum(row.counts[i] for row in inside) for i in range(3))
        assert {row.kind for row in inside} <= kinds | {"lost"}
        assert any(row.kind != "lost" for row in inside)
        covered.update(inside)
    assert set(covered.values()) <= {1}
    wanted = [row for row in given_rows if row.kind in kinds]
    gone = [row for row in wanted if row in covered]
    assert gone == wanted[: len(gone)], "oldest first"
    ends = {(drop.boot_no, drop.seq + 1) for drop in drops}
    assert not ends & {(row.boot_no, row.first_seq) for row in given_rows if row.kind == "lost"}, "neighbours merge"
