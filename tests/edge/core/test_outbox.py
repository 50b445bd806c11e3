"""What to drop, and how samples get rarer before anything must be."""

import pytest

from edge.core.outbox import EVERYTHING, LOST_BYTES, SAMPLES, Drop, Row, as_lost, plan, sample_interval_ms
from wire.messages import LostEvent

KINDS = {"s": ("sample", (1, 0, 0)), "e": ("enter", (0, 1, 0)), "x": ("exit", (0, 0, 1)), "L": ("lost", (5, 1, 1))}


def rows(text, size=400):
    found = []
    for seq, letter in enumerate(text, 1):
        kind, counts = KINDS[letter]
        found.append(Row(1, seq, seq, kind, LOST_BYTES if letter == "L" else size, counts))
    return found


@pytest.mark.parametrize(
    ("text", "need", "kinds", "drops"),
    [
        ("sss", 300, SAMPLES, [(1, 2, (2, 0, 0))]),
        ("esss", 1, SAMPLES, [(2, 2, (1, 0, 0))]),
        ("sesx", 10_000, SAMPLES, [(1, 1, (1, 0, 0)), (3, 3, (1, 0, 0))]),
        ("Lss", 700, SAMPLES, [(1, 3, (7, 1, 1))]),
        ("sLs", 10_000, SAMPLES, [(1, 3, (7, 1, 1))]),
        ("eLx", 10_000, EVERYTHING, [(1, 3, (5, 2, 2))]),
        ("eee", 10_000, SAMPLES, []),
        ("LL", 10_000, EVERYTHING, []),
    ],
)
def test_runs_are_oldest_first_and_join_the_losses_beside_them(text, need, kinds, drops):
    assert [(drop.first_seq, drop.seq, drop.counts) for drop in plan(rows(text), need, kinds)] == drops


def test_a_run_never_crosses_a_boot():
    two = [Row(1, 1, 1, "sample", 400, (1, 0, 0)), Row(2, 1, 1, "sample", 400, (1, 0, 0))]
    assert [drop.boot_no for drop in plan(two, 10_000, SAMPLES)] == [1, 2]


def test_a_loss_is_what_the_wire_says():
    event = as_lost(Drop(1, 3, 9, (5, 1, 1)), "overflow")
    assert LostEvent.model_validate(event).seq == 9


def test_samples_get_rarer_as_the_outbox_fills():
    found = [sample_interval_ms(1000, fill / 100) for fill in range(0, 120, 5)]
    assert found == sorted(found)
    assert (found[0], found[-1]) == (1000, 10_000)
