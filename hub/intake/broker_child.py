"""The process of the embedded broker: `python -m hub.intake.broker_child ADDRESS PORT`. Started by `broker.py` only."""

import logging
import os
import sys
import tempfile
import threading

from iotcore import Broker

from hub.intake.broker import settings_toml


def main(address: str, port: int) -> None:
    """Serve until stdin ends, which it does when the parent dies of whatever cause."""
    # rumqttd logs every packet, topic included, as an error: slow, and topics name devices. Before it asks for levels.
    logging.getLogger("rumqttd").setLevel(logging.CRITICAL)
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(settings_toml(address, port))
        file.flush()
        broker = Broker(config_path=file.name)
    threading.Thread(target=_exit_at_end_of_stdin, name="parent-watch", daemon=True).start()
    broker.run_forever()


def _exit_at_end_of_stdin() -> None:
    try:
        sys.stdin.buffer.read()
    finally:
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
