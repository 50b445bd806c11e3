"""The hub's benchmarks in small: real broker, real hub; what is asserted is the work, never the speed."""

import pytest

from bench.crowd import person
from bench.ingest import Size, Sizes, bed
from bench.latency import Answers, Door

SMALL = Sizes(Size(20, 1), Size(5, 1), Size(5, 1), 1)


@pytest.mark.e2e
def test_a_backlog_is_drained_as_planned(tmp_path):
    with bed(tmp_path, SMALL, (), lambda _: None) as one:
        assert one.hub_rate(SMALL.batched, 50, 0) > 0
        assert one.hub_rate(SMALL.single, 1, 0) > 0


def test_an_ack_answers_everything_up_to_it_once():
    answers = Answers()
    answers.sent_s |= {1: 10.0, 2: 10.1, 3: 10.2}
    answers.take(2, 10.5)
    answers.take(2, 11.0)
    answers.take(3, 11.2)
    assert answers.took_ms == pytest.approx({1: 500, 2: 400, 3: 1000})


def test_the_clock_starts_at_the_advertisement_that_satisfied_the_gate():
    one, door = person(1), Door()
    door.adverts_ms[one.beacon.uuid] = [1000.2, 1100.3, 1200.9, 1300.1]
    door.gate_ms[one.beacon.uuid] = 1200  # whole ms, rounded down
    door.pushed_ms[one.device] = 1225.9
    assert door.took_ms(one) == pytest.approx(25.0)
