import os
import time

import pytest

from bench import measure
from bench.clock import cpu_s, steady_s
from bench.measure import in_turns, percentile, rates, ratio, rounded, spread
from wire.errors import LocalFault


def test_median_and_quartiles():
    found = spread([5, 1, 4, 2, 3])
    assert (found.median, found.q1, found.q3, found.n) == (3, 2, 4, 5)
    assert spread([7.0]) == measure.Spread(7.0, 7.0, 7.0, 1)
    with pytest.raises(ValueError, match="no value"):
        spread([])


def test_a_spread_becomes_three_figures():
    assert spread([5, 1, 4, 2, 3]).named("x_per_s") == {"x_per_s": 3, "x_per_s_q1": 2, "x_per_s_q3": 4}


@pytest.mark.parametrize(
    ("share", "expected"), [(0, 1), (0.001, 1), (0.5, 50), (0.501, 51), (0.99, 99), (0.991, 100), (1, 100)]
)
def test_a_percentile_is_a_value_that_occurred(share, expected):
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_a_percentile_of_nothing_or_beyond_the_ends_is_refused():
    for values, share in (([], 0.5), ([1], 1.5), ([1], -0.1)):
        with pytest.raises(ValueError, match="percentile"):
            percentile(values, share)


def test_figures_have_four_digits():
    assert (rounded(123_456.7), rounded(0.00123456), rounded(0)) == (123_500, 0.001235, 0)


def test_contenders_take_turns_and_the_order_alternates():
    calls = []

    def contender(name, rate):
        def run(turn):
            calls.append((turn, name))
            return rate * (turn + 1)

        return run

    said = []
    rows = in_turns({"ours": contender("ours", 10.0), "naive": contender("naive", 2.0)}, 3, say=said.append)
    assert calls == [(0, "ours"), (0, "naive"), (1, "naive"), (1, "ours"), (2, "ours"), (2, "naive")]
    assert rows == [{"ours": 10.0, "naive": 2.0}, {"ours": 20.0, "naive": 4.0}, {"ours": 30.0, "naive": 6.0}]
    assert len(said) == 3
    assert ratio(rows, "ours", "naive") == measure.Spread(5.0, 5.0, 5.0, 3)  # within a turn: drift cancels
    assert rates(rows, "naive").median == 4.0


def test_without_time_left_no_turn_begins_but_the_first():
    said = []
    rows = in_turns({"ours": lambda turn: 1.0}, 5, until_s=steady_s() - 1, say=said.append)
    assert len(rows) == 1
    assert "no time left" in said[-1]


def test_cpu_time_is_that_of_the_process():
    assert cpu_s(os.getpid()) <= time.process_time() <= cpu_s(os.getpid())


def test_a_rate_is_work_per_cpu_second():
    def work():
        sum(range(1_000_000))
        return 500

    before = time.process_time()
    rate = measure.per_cpu_s(os.getpid(), work)
    assert rate >= 500 / (time.process_time() - before)


def test_no_such_process_is_an_error():
    with pytest.raises(OSError, match="Invalid argument"):
        cpu_s(2**22 - 1)


def test_a_process_that_did_nothing_is_no_measurement(monkeypatch):
    monkeypatch.setattr(measure, "cpu_s", lambda pid: 1.0)
    with pytest.raises(LocalFault, match="nothing was measured"):
        measure.per_cpu_s(1, lambda: 1)


def test_memory_and_disk_are_what_they_say_and_leave_nothing_behind():
    with measure.in_memory() as memory, measure.on_disk() as disk:
        assert measure._file_system(memory) == "tmpfs"
        assert measure._file_system(disk) not in ("tmpfs", "ramfs")
        (disk / "file").write_text("x")
    assert not memory.exists()
    assert not disk.exists()
