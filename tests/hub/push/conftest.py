"""The broker of the intake's tests, for the MQTT channel."""

from tests.hub.intake.conftest import broker, free_port

__all__ = ["broker", "free_port"]
