"""Devices on MQTT, on a real server: what they publish arrives below ``mqtt.``, and they reach nothing else."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from nats.js.api import StreamConfig
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from fastflow.local.bus_users import config, device_password_file, users_in
from fastflow.local.nats_server import USERS, embedded_bus
from fastflow_contracts.bus import streams
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.permissions import ADMIN_INBOX, DEVICE
from fastflow_contracts.bus.streams import bucket_stream
from tests.support.ports import free_port

WAIT_S = 30.0


class Device(NamedTuple):
    """A connected client."""

    client: Client
    heard: queue.Queue[str]

    def publish(self, topic: str, *, qos: int = 1, retain: bool = False) -> None:
        """Publish the topic's name; return when the server has it."""
        self.client.publish(topic, topic.encode(), qos=qos, retain=retain).wait_for_publish(WAIT_S)

    def subscribe(self, topic: str) -> int:
        """Return the server's answer: a QoS, or 128 for a refusal."""
        answers: queue.Queue[int] = queue.Queue()
        self.client.on_subscribe = lambda _client, _data, _id, codes, _properties: answers.put(codes[0].value)
        self.client.subscribe(topic, qos=1)
        return answers.get(timeout=WAIT_S)


@contextmanager
def device(port: int, password: str, *, name: str = "one") -> Iterator[tuple[Device, ReasonCode]]:
    """Connect; also yield what the server says to that."""
    answers: queue.Queue[ReasonCode] = queue.Queue()
    made = Device(Client(CallbackAPIVersion.VERSION2, client_id=name), queue.Queue())
    made.client.username_pw_set(DEVICE, password)
    made.client.on_connect = lambda _client, _data, _flags, code, _properties: answers.put(code)

    def hear(_client: Client, _data: object, message: MQTTMessage) -> None:
        made.heard.put(message.topic)

    made.client.on_message = hear
    made.client.connect("127.0.0.1", port)
    made.client.loop_start()
    try:
        yield made, answers.get(timeout=WAIT_S)
    finally:
        made.client.disconnect()
        made.client.loop_stop()


@asynccontextmanager
async def listening(folder: Path) -> AsyncIterator[tuple[Bus, int, str]]:
    """Yield the administrator's bus, with all its streams, the port for devices, and their password."""
    port = free_port()
    async with (
        embedded_bus(folder, mqtt_port=port, sync="2m") as url,
        connect(url, name="test", inbox=ADMIN_INBOX) as bus,
    ):
        await streams.ensure(bus.js)
        yield bus, port, device_password_file(folder / USERS).read_text().strip()


async def test_what_devices_publish_is_stored_below_mqtt(tmp_path: Path) -> None:
    """With each QoS, retained or not, once each; topics become subjects."""
    published = {
        "a/b": "mqtt.a.b",
        "a/v1.2": "mqtt.a.v1//2",
        "a//b": "mqtt.a./.b",
        "a/ü": "mqtt.a.ü",
        "ff/trigger/x": "mqtt.ff.trigger.x",
        "$KV/ff_runs/run/x/y": "mqtt.$KV.ff_runs.run.x.y",
    }

    def publish() -> None:
        with device(port, password) as (each, _):
            for qos in (0, 1, 2):
                for topic in published:
                    each.publish(topic, qos=qos, retain=qos == 1)

    async with listening(tmp_path) as (bus, port, password):
        wanted = ["mqtt.a.>", "mqtt.ff.>", "mqtt.$KV.>"]
        await bus.js.add_stream(StreamConfig(name="DEVICES", subjects=wanted, allow_direct=True))
        await asyncio.to_thread(publish)
        async with asyncio.timeout(WAIT_S):
            while (state := (await bus.js.stream_info("DEVICES")).state).messages < 3 * len(published):
                await asyncio.sleep(0.05)
        found = [await bus.js.get_msg("DEVICES", seq=sequence) for sequence in range(1, state.last_seq + 1)]
        assert [(each.subject, each.data) for each in found] == [
            (subject, topic.encode()) for topic, subject in published.items()
        ] * 3
        assert (await bus.js.stream_info(streams.TRIGGERS)).state.last_seq == 0
        assert (await bus.js.stream_info(bucket_stream("ff_runs"))).state.last_seq == 0


async def test_devices_hear_each_other_and_nothing_else(tmp_path: Path) -> None:
    def subscribe(each: Device) -> list[int]:
        return [each.subscribe(topic) for topic in ("#", "ff/#", "mqtt/#", "$KV/#", "$JS/#", "$SYS/#")]

    async with listening(tmp_path) as (bus, port, password):
        with device(port, password) as (each, _):
            assert await asyncio.to_thread(subscribe, each) == [1, 1, 1, 1, 128, 128]
            for subject in ("ff.event.run.x.y", "mqtt.a", "a", "ff.drain.x"):
                await bus.client.publish(subject, b"secret")
            await bus.js.publish("ff.trigger.x", b"secret")
            await bus.client.flush()
            with device(port, password, name="two") as (other, _):
                await asyncio.to_thread(other.publish, "last")
            assert await asyncio.to_thread(each.heard.get, True, WAIT_S) == "last"


async def test_a_device_changes_nothing_of_the_server(tmp_path: Path) -> None:
    """The requests that would are refused: the server closes nothing, and the stream is still there."""

    def publish() -> None:
        with device(port, password) as (each, _):
            for stream in ("KV_ff_runs", "$MQTT_sess"):
                each.client.publish(f"$JS/API/STREAM/DELETE/{stream}", b"", qos=0)
            each.publish("a")

    async with listening(tmp_path) as (bus, port, password):
        await asyncio.to_thread(publish)
        assert (await bus.js.stream_info(bucket_stream("ff_runs"))).config.name == bucket_stream("ff_runs")
        with device(port, password) as (_, answer):  # its session is kept in the other one
            assert not answer.is_failure


async def test_the_login_of_devices_is_for_mqtt_only(tmp_path: Path) -> None:
    """And a wrong password is refused."""
    async with listening(tmp_path) as (bus, port, password):
        url = f"nats://{DEVICE}:{password}@127.0.0.1:{bus.client.connected_url.port}"  # type: ignore[union-attr]
        with pytest.raises(Unavailable):
            async with connect(url, name="device"):
                pass
        with device(port, "wrong") as (_, answer):
            assert answer.is_failure


def test_without_devices_there_is_no_account_for_them(tmp_path: Path) -> None:
    assert "MQTT" not in config(users_in(tmp_path / "without"))
    assert not device_password_file(tmp_path / "without").exists()
    with_devices = users_in(tmp_path / "with", with_devices=True)
    assert "MQTT" in config(with_devices)
    assert users_in(tmp_path / "with", with_devices=True) == with_devices
