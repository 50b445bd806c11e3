"""Scripts: what a line may say, and that it does it."""

import pytest

from simulators.bluez import FakeBlueZ, Heal
from simulators.bluez.script import VERBS, Step, apply, read
from wire.errors import BadConfig

ADDRESS = "C0:11:22:33:44:55"


def test_lines_are_methods_with_their_arguments():
    lines = [
        "# a comment",
        "",
        '{"do": "fail", "member": "StartDiscovery", "times": null}',
        '{"at_s": 1.5, "do": "stall", "heals": "power", "only": "active"}',
        '{"at_s": 1.5, "do": "advertise", "address": "C0:11:22:33:44:55", "adv": "020106", "rssi_dbm": -70}',
        '{"do": "behave", "release": "5.66", "temporary_timeout_s": 10}',
    ]
    assert list(read(lines)) == [
        Step(3, None, "fail", {"member": "StartDiscovery", "times": None}),
        Step(4, 1.5, "stall", {"heals": Heal.POWER, "only": "active"}),
        Step(5, 1.5, "advertise", {"address": ADDRESS, "adv": b"\x02\x01\x06", "rssi_dbm": -70}),
        Step(6, None, "behave", {"release": "5.66", "temporary_timeout_s": 10}),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nonsense", "not JSON"),
        ("[]", "`do` is one of advertise"),
        ('{"do": "fly"}', "`do` is one of"),
        ('{"do": "__init__"}', "`do` is one of"),
        ('{"do": "stall", "heals": "magic"}', "heals: Input should be 'scan'"),
        ('{"do": "stall", "colour": "red"}', "colour: Extra inputs"),
        ('{"do": "fail"}', "member: Field required"),
        ('{"do": "advertise", "address": "x", "adv": "zz"}', "adv: "),
        ('{"do": "behave", "controller_mode": "usb"}', "controller_mode: "),
        ('{"at_s": -1, "do": "mend"}', "at_s: "),
        ('{"at_s": 3, "do": "mend"}', "at_s 3 comes after 5"),
        ('{"do": "mend", "x": "' + "x" * 20_000 + '"}', "longer than"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(line, reason):
    with pytest.raises(BadConfig, match="line 2: ") as caught:
        list(read(['{"at_s": 5, "do": "mend"}', line]))
    assert reason in str(caught.value)


def test_every_verb_can_be_said():
    needed = {
        "advertise": {"address": ADDRESS, "adv": ""},
        "fail": {"member": "X"},
        "forget": {"address": ADDRESS},
        "hang": {"member": "X"},
        "keep": {"address": ADDRESS},
        "plug": {"adapter": "hci1"},
        "power": {"on": True},
    }
    for verb in VERBS:
        said = {"do": verb, **needed.get(verb, {})}
        (step,) = read([str(said).replace("'", '"').replace("True", "true")])
        assert (step.verb, step.arguments) == (verb, step.arguments)


async def test_steps_are_done():
    async with FakeBlueZ() as radio:
        for line in (
            '{"do": "plug", "adapter": "hci1"}', '{"do": "stall", "adapter": "hci1", "heals": "daemon"}',
            '{"do": "keep", "address": "c0:11:22:33:44:55"}', '{"do": "behave", "release": "5.66"}',
        ):  # fmt: skip
            (step,) = read([line])
            await apply(step, radio)
        assert radio.stalled("hci1")
        assert radio.devices == [ADDRESS]
        assert radio.behaviour.release == "5.66"
        (step,) = read(['{"do": "restart_daemon"}'])
        await apply(step, radio)
        assert not radio.stalled("hci1")
        (step,) = read(['{"do": "unplug", "adapter": "hci9"}'])
        with pytest.raises(BadConfig, match="line 1: adapter 'hci9' is not there"):
            await apply(step, radio)
