"""The MQTT channel against a real broker, and the fake, under one contract."""

import asyncio
import queue
from collections import defaultdict
from collections.abc import Iterator
from random import Random

import pytest
from paho.mqtt import client as paho

from hub.intake.broker import EmbeddedBroker
from hub.intake.mqtt import LinkSettings, MqttLink
from hub.ports import Channel, Fate, Receipt
from hub.push.mqtt import MqttChannel
from tests.channel_contract import PATIENCE_S, Breakage, ChannelContract, Received, a_push
from tests.fakes import FakeChannel
from wire import messages
from wire.topics import push_topic


class TestMqttChannel(ChannelContract):
    @pytest.fixture
    def link(self, broker: EmbeddedBroker) -> Iterator[MqttLink]:
        settings = LinkSettings("127.0.0.1", broker.port, "hub-under-test", reconnect_max_s=0.2)
        link = MqttLink(settings, lambda _: True, lambda: 0, Random(1).random)
        link.start()
        yield link
        link.stop(5)

    @pytest.fixture
    def received(self, broker: EmbeddedBroker) -> Iterator[Received]:
        heard: dict[str, queue.Queue[messages.Push]] = defaultdict(queue.Queue)
        phones = paho.Client(paho.CallbackAPIVersion.VERSION2)
        subscribed: queue.Queue[None] = queue.Queue()
        phones.on_subscribe = lambda *_: subscribed.put(None)
        phones.on_message = lambda _c, _u, m: heard[m.topic].put(messages.read(messages.Push, m.payload))
        phones.connect("127.0.0.1", broker.port)
        phones.loop_start()
        phones.subscribe([(push_topic("phone-1"), 1), (push_topic("phone-2"), 1)])
        subscribed.get(timeout=PATIENCE_S)

        async def received(device: str) -> messages.Push:
            return await asyncio.to_thread(heard[push_topic(device)].get, True, PATIENCE_S)

        yield received
        phones.disconnect()
        phones.loop_stop()

    @pytest.fixture
    async def channel(self, link: MqttLink) -> Channel:
        async with asyncio.timeout(PATIENCE_S):
            while True:  # until the broker has accepted the link
                try:
                    await link.publish("warm/up", b"", False)
                    break
                except ConnectionError:
                    await asyncio.sleep(0.01)
        return MqttChannel(link.publish, PATIENCE_S)

    @pytest.fixture
    def breakage(self, broker: EmbeddedBroker, link: MqttLink) -> Breakage:
        async def stop() -> None:
            await asyncio.to_thread(broker.stop)

        return stop

    async def test_no_puback_in_time_is_try_later(self) -> None:
        async def never(_topic: str, _payload: bytes, _retain: bool) -> None:
            await asyncio.Event().wait()

        assert await MqttChannel(never, 0.01).deliver(a_push(), 60) == Receipt(Fate.TRY_LATER, "no PUBACK in time")

    async def test_a_device_id_that_is_no_topic_is_refused(self, channel: Channel) -> None:
        assert (await channel.deliver(a_push(device="a/#"), 60)).fate is Fate.REFUSED


class TestFakeChannel(ChannelContract):
    @pytest.fixture
    def channel(self) -> FakeChannel:
        return FakeChannel()

    @pytest.fixture
    def received(self, channel: FakeChannel) -> Received:
        taken: set[int] = set()

        async def received(device: str) -> messages.Push:
            for index, (to, message) in enumerate(channel.delivered):
                if to == device and index not in taken:
                    taken.add(index)
                    return message
            raise AssertionError("nothing received")

        return received

    @pytest.fixture
    def breakage(self, channel: FakeChannel) -> Breakage:
        async def fail() -> None:
            channel.receipts.append(Receipt(Fate.TRY_LATER, "broken"))

        return fail
