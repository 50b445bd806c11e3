"""Virtual time: continuous whatever the rate does, read whole or not at all, backlogs taken once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import BadConfig
from wire.pace import FILE_BYTES, MAX_RATE, MIN_RATE, SLOTS, Pace, read_pace, report_backlog, take_backlogs, write_pace

START = Pace(real_ns=1_000, virtual_ns=1_790_942_400_000_000_000, rate=1.0, ceiling=60.0)


def a_file(pace=START):
    buffer = bytearray(FILE_BYTES)
    write_pace(buffer, pace)
    return buffer


def test_a_worked_example():
    pace = Pace(real_ns=0, virtual_ns=5_000_000_000, rate=1.0, ceiling=100.0)
    faster = pace.turned(1_000_000_000, 30.0)
    assert faster.at_ns(1_000_000_000) == 6_000_000_000
    assert faster.at_ns(2_000_000_000) == 36_000_000_000
    assert faster.turned(2_000_000_000, 500.0).rate == 100.0
    assert faster.turned(2_000_000_000, 0.0).rate == MIN_RATE


@given(st.lists(st.tuples(st.integers(0, 10**12), st.floats(0, 2 * MAX_RATE)), max_size=20))
def test_time_never_jumps_nor_runs_back(turns):
    pace, real_ns = START, START.real_ns
    for passed_ns, rate in turns:
        real_ns += passed_ns
        before = pace.at_ns(real_ns)
        pace = pace.turned(real_ns, rate)
        assert pace.at_ns(real_ns) == before
        assert pace.at_ns(real_ns + 1_000_000) >= before
        assert pace.at_ns(real_ns - 1) == before, "never before the anchor"
        assert MIN_RATE <= pace.rate <= pace.ceiling


@given(
    st.builds(Pace, st.integers(0, 2**62), st.integers(0, 2**62), st.floats(MIN_RATE, MAX_RATE), st.floats(1, MAX_RATE))
)
def test_what_was_written_is_read(pace):
    assert read_pace(a_file(pace)) == pace


@pytest.mark.parametrize("at", [8, 20, 39, 40, 43])
def test_a_half_written_record_is_never_taken(at):
    buffer = a_file()
    buffer[at] ^= 0x41
    with pytest.raises(BadConfig, match="whole record"):
        read_pace(buffer)


@pytest.mark.parametrize("buffer", [b"", bytes(FILE_BYTES), b"dcpace1\0"])
def test_what_is_no_pace_file_is_said(buffer):
    with pytest.raises(BadConfig, match="no pace file"):
        read_pace(buffer)


def test_the_longest_backlog_of_anybody_is_taken_once():
    buffer = a_file()
    report_backlog(buffer, 0, 40)
    report_backlog(buffer, SLOTS - 1, 900)
    report_backlog(buffer, SLOTS - 1, 20)
    assert take_backlogs(buffer) == 900
    assert take_backlogs(buffer) == 0
    assert read_pace(buffer) == START, "slots do not touch the record"


@pytest.mark.parametrize("slot", [-1, SLOTS])
def test_a_slot_outside_the_page_is_refused(slot):
    with pytest.raises(BadConfig, match="slot"):
        report_backlog(a_file(), slot, 1)
