"""Made-up crowds and recorded frames on the air."""

from collections import Counter
from itertools import takewhile

import pytest

from simulators.bluez import FakeBlueZ
from simulators.bluez.crowd import Crowd
from simulators.bluez.playing import heard_of, play
from wire.errors import BadConfig
from wire.ibeacon import decode
from wire.trace import Frame


def within(crowd, seconds):
    return list(takewhile(lambda one: one.t_ms < seconds * 1000, crowd.heard()))


def test_a_crowd_keeps_its_rate_and_its_order_and_repeats_itself():
    heard = within(Crowd(count=10, hz=2, seed=7), 60)
    assert heard == within(Crowd(count=10, hz=2, seed=7), 60)
    assert heard != within(Crowd(count=10, hz=2, seed=8), 60)
    assert [one.t_ms for one in heard] == sorted(one.t_ms for one in heard)
    assert 0.95 * 1200 <= len(heard) <= 1200
    assert len({one.address for one in heard}) == 10


def test_who_rotates_changes_address_and_identity_together():
    heard = within(Crowd(count=5, hz=1, rotate_s=20), 60)
    pairs = {(one.address, one.adv) for one in heard}
    assert len(pairs) == len({address for address, _ in pairs}) == len({adv for _, adv in pairs}) == 15
    for one in heard:
        assert decode(one.adv[4:]).uuid.startswith(bytes.fromhex("d0c41e02"))
        assert int(one.address[:2], 16) < 64  # non-resolvable private


@pytest.mark.parametrize("bad", [{"count": 0}, {"hz": 0}, {"prefix": bytes(17)}, {"rotate_s": 0}])
def test_no_crowd_is_like_that(bad):
    with pytest.raises(BadConfig):
        Crowd(**bad)


def frame(address="C0:11:22:33:44:55", scanner="door", rssi_dbm=-60.4):
    return Frame(t_ms=5, scanner=scanner, address=address, rssi_dbm=rssi_dbm, adv="020106")


def test_frames_that_no_radio_could_hear_are_counted():
    frames = [frame(), frame("aa:bb"), frame(rssi_dbm=-500), frame(scanner="till"), frame("c0:11:22:33:44:66")]
    counts = Counter()
    heard = list(heard_of(frames, "door", counts))
    assert [(one.address, one.rssi_dbm) for one in heard] == [("C0:11:22:33:44:55", -60), ("c0:11:22:33:44:66", -60)]
    assert counts == {"unusable": 2, "elsewhere": 1}
    assert len(list(heard_of(frames, None, counts))) == 3


async def test_everything_is_played():
    async with FakeBlueZ() as radio:
        counts = Counter()
        await play(radio, heard_of([frame()] * 1200, None, Counter()), 1000, counts)
        assert counts == {"played": 1200}
        assert radio.counts == {"heard": 1200, "unscanned": 1200}
