"""A BlueZ without a radio: `org.bluez` on a bus of its own, for bleak programs. See docs/bluez-simulator.md."""

from simulators.bluez.behaviour import Behaviour, Heal
from simulators.bluez.radio import FakeBlueZ

__all__ = ["Behaviour", "FakeBlueZ", "Heal"]
