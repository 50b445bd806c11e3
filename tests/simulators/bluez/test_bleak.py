"""The contract with bleak, once per bus."""

import pytest

from tests.simulators.bluez.contract import BluezContract


class TestStandalone(BluezContract):
    """The fake is the bus too."""

    bus = "standalone"


@pytest.mark.dbus
class TestDaemon(BluezContract):
    """A private dbus-daemon."""

    bus = "daemon"
