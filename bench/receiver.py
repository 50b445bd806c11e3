"""A client that only receives: paho takes QoS 1 messages and acknowledges them. The ceiling of any hub on paho.

    python -m bench.receiver PORT CLIENT_ID TOPIC_FILTER EVERY DONE_TOPIC

After every EVERY messages it publishes to DONE_TOPIC.
"""

import socket
import sys
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

KEEPALIVE_S = 3_600
"""A rival stands still while others are measured; the broker must not take that for its end."""


def main(port: int, client_id: str, topic_filter: str, every: int, done_topic: str) -> None:
    """Receive for ever."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False)
    received = 0

    def count(_client: paho.Client, _userdata: object, _message: paho.MQTTMessage) -> None:
        nonlocal received
        received += 1
        if received % every == 0:
            client.publish(done_topic, b"", 1)

    def subscribe(*_: object) -> None:
        client.subscribe(topic_filter, 1)

    def ready(*_: object) -> None:
        client.publish(done_topic, b"", 1)

    def no_delay(_client: paho.Client, _userdata: object, sock: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    client.on_socket_open = no_delay
    client.on_connect = subscribe
    client.on_subscribe = ready
    client.on_message = count
    client.connect("127.0.0.1", port, KEEPALIVE_S)
    client.loop_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
