"""The bus on real sockets: subscriptions seen, drops, requests with deadlines, restarts."""

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack
import pytest
import zmq

from common import bus, wire
from common.access_unit import AccessUnit
from common.errors import LocalError
from common.messages import (
    PROTOCOL_VERSION,
    CloseRequest,
    Done,
    FanoutHello,
    HelloWanted,
    Message,
    Refused,
    SessionEnded,
)

DEADLINE_S = 10.0


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cctv3-") as name:
        yield Path(name)


@pytest.fixture
def sockets() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


async def until(reached: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not reached():
            await asyncio.sleep(0.005)


def hello() -> FanoutHello:
    return FanoutHello.of("fanout-0", 1, 2, False, ())


async def test_subscriptions_are_seen_and_media_arrives(folder: Path, sockets: contextlib.ExitStack) -> None:
    endpoint = bus.ipc_endpoint(folder, "camera-a")
    seen: list[tuple[bytes, bool]] = []
    got: list[list[bytes]] = []
    publisher = bus.MediaPublisher(endpoint, lambda topic, on: seen.append((topic, on)))
    sockets.callback(publisher.close)
    first = bus.MediaSubscriber(endpoint, got.append)
    sockets.callback(first.close)
    second = bus.MediaSubscriber(endpoint, lambda frames: None)
    sockets.callback(second.close)

    first.subscribe(b"live/a")
    await until(lambda: seen == [(b"live/a", True)])
    unit = AccessUnit(1, 0, "video", "H264", 0, 0, 0, True, (b"\x65" * 100_000, b"\x06"))
    publisher.publish(wire.encode_access_unit(b"live/a", unit))
    publisher.publish(wire.encode_access_unit(b"other", unit))
    await until(lambda: got)
    assert wire.decode_media(got[0]) == unit

    # Only the last one to leave is told: an on-demand camera stays while anybody watches.
    second.subscribe(b"live/a")
    second.subscribe(b"live/b")
    await until(lambda: (b"live/b", True) in seen)
    first.unsubscribe(b"live/a")
    first.subscribe(b"live/c")
    await until(lambda: (b"live/c", True) in seen)
    assert (b"live/a", False) not in seen
    second.close()
    await until(lambda: {(b"live/a", False), (b"live/b", False)} <= set(seen))
    assert len(got) == 1


async def test_a_subscriber_that_does_not_read_loses_messages_and_blocks_nobody(
    folder: Path, sockets: contextlib.ExitStack
) -> None:
    endpoint = bus.ipc_endpoint(folder, "camera-a")
    seen: list[bytes] = []
    publisher = bus.MediaPublisher(endpoint, lambda topic, on: seen.append(topic))
    sockets.callback(publisher.close)
    sequences: list[int] = []

    def received(frames: list[bytes]) -> None:
        unit = wire.decode_media(frames)
        assert isinstance(unit, AccessUnit)
        sequences.append(unit.sequence)

    reader = bus.MediaSubscriber(endpoint, received)
    sockets.callback(reader.close)
    reader.subscribe(b"t")
    await until(lambda: seen)
    # Nothing reads while this loop runs, so both ends' queues fill up.
    count = 4 * bus.MEDIA_HIGH_WATER_MARK
    for sequence in range(count):
        publisher.publish(
            wire.encode_access_unit(
                b"t", AccessUnit(1, sequence, "video", "H264", 0, 0, 0, False, (bytes(1000),))
            )
        )
    await until(lambda: len(sequences) >= bus.MEDIA_HIGH_WATER_MARK)
    settled = 0
    while settled != len(sequences):
        settled = len(sequences)
        await asyncio.sleep(0.1)
    assert settled < count
    assert sequences == sorted(set(sequences))
    # What was lost shows as a gap once there is room again.
    publisher.publish(
        wire.encode_access_unit(b"t", AccessUnit(1, count, "video", "H264", 0, 0, 0, True, (b"x",)))
    )
    await until(lambda: sequences[-1] == count)
    assert sequences[-2] < count - 1


async def test_subscription_survives_a_restart_of_the_publisher(
    folder: Path, sockets: contextlib.ExitStack
) -> None:
    endpoint = bus.ipc_endpoint(folder, "camera-a")
    seen: list[bytes] = []
    subscriber = bus.MediaSubscriber(endpoint, lambda frames: None)  # before there is a publisher
    sockets.callback(subscriber.close)
    subscriber.subscribe(b"t")
    for run in range(1, 3):
        publisher = bus.MediaPublisher(endpoint, lambda topic, on: seen.append(topic) if on else None)
        sockets.callback(publisher.close)
        await until(lambda run=run: len(seen) == run)
        publisher.close()
        assert not list(folder.iterdir())


async def test_request_and_reply(folder: Path, sockets: contextlib.ExitStack) -> None:
    heard: list[tuple[str, Message]] = []
    server = bus.ControlServer(
        bus.ipc_endpoint(folder, "control"), lambda who, message: heard.append((who, message))
    )
    sockets.callback(server.close)

    async def answer(message: Message) -> Message:
        assert isinstance(message, CloseRequest)
        if message.session == "slow":
            await asyncio.sleep(DEADLINE_S)
        if message.session == "broken":
            raise RuntimeError("a bug")
        return Refused("unknown-session", message.session)

    client = bus.ControlClient(bus.ipc_endpoint(folder, "control"), "fanout-0", hello, answer)
    sockets.callback(client.close)
    await until(lambda: heard == [("fanout-0", hello())])

    # Several at once, the slow one last: nobody waits for another.
    slow = asyncio.ensure_future(server.request("fanout-0", CloseRequest("slow"), 0.3))
    replies = await asyncio.gather(*(server.request("fanout-0", CloseRequest(str(n))) for n in range(20)))
    assert replies == [Refused("unknown-session", str(n)) for n in range(20)]
    with pytest.raises(bus.BusTimeout, match=r"fanout-0 did not answer close within 0\.3 s"):
        await slow

    broken = await server.request("fanout-0", CloseRequest("broken"))
    assert isinstance(broken, Refused)
    assert broken.kind == "internal"
    with pytest.raises(bus.BusTimeout, match="nobody is not connected"):
        await server.request("nobody", Done())
    assert not server.notify("nobody", Done())


async def test_peer_without_requests_refuses_them(folder: Path, sockets: contextlib.ExitStack) -> None:
    heard: list[Message] = []
    server = bus.ControlServer(
        bus.ipc_endpoint(folder, "control"), lambda who, message: heard.append(message)
    )
    sockets.callback(server.close)
    client = bus.ControlClient(bus.ipc_endpoint(folder, "control"), "ingest-a", hello)
    sockets.callback(client.close)
    await until(lambda: heard)
    assert isinstance(await server.request("ingest-a", Done()), Refused)


async def test_restarted_server_asks_for_the_hello(folder: Path, sockets: contextlib.ExitStack) -> None:
    endpoint = bus.ipc_endpoint(folder, "control")
    client = bus.ControlClient(endpoint, "fanout-0", hello)  # before there is a server
    sockets.callback(client.close)
    for _ in range(2):
        heard: list[tuple[str, Message]] = []
        server = bus.ControlServer(endpoint, lambda who, message, heard=heard: heard.append((who, message)))
        sockets.callback(server.close)

        def reported(heard: list[tuple[str, Message]] = heard) -> bool:
            # What is on its way while a server dies is lost, as any heartbeat may be.
            client.notify(SessionEnded("s", "r"))
            return ("fanout-0", SessionEnded("s", "r")) in heard

        await until(reported)
        await asyncio.sleep(0.05)
        heard.clear()
        assert server.notify("fanout-0", HelloWanted())
        await until(lambda heard=heard: heard == [("fanout-0", hello())])
        server.close()


async def test_restarted_peer_takes_its_identity_over(folder: Path, sockets: contextlib.ExitStack) -> None:
    heard: list[Message] = []
    endpoint = bus.ipc_endpoint(folder, "control")
    server = bus.ControlServer(endpoint, lambda who, message: heard.append(message))
    sockets.callback(server.close)

    async def done(message: Message) -> Message:
        return Done()

    for run in range(1, 4):
        client = bus.ControlClient(endpoint, "fanout-0", hello, done)
        sockets.callback(client.close)
        await until(lambda run=run: len(heard) == run)
        assert await server.request("fanout-0", CloseRequest("s")) == Done()


async def test_unreadable_control_messages_are_logged_and_passed_over(
    folder: Path, sockets: contextlib.ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Message] = []
    endpoint = bus.ipc_endpoint(folder, "control")
    server = bus.ControlServer(endpoint, lambda who, message: heard.append(message))
    sockets.callback(server.close)
    raw = sockets.enter_context(zmq.Context.instance().socket(zmq.DEALER))
    raw.setsockopt(zmq.LINGER, 0)
    raw.setsockopt(zmq.IDENTITY, b"stranger")
    raw.connect(endpoint)
    raw.send(msgpack.packb((99, "done", 0, {})))
    raw.send(b"\xc1")
    raw.send_multipart([b"three", b"frames"])
    raw.send(wire.encode_message(Done(), 77))  # the reply to a request that nobody made
    raw.send(wire.encode_message(Done()))
    await until(lambda: heard == [Done()])
    text = caplog.text
    assert f"stranger: control message of version 99, this process reads {PROTOCOL_VERSION}" in text
    assert "not msgpack" in text
    assert "3 frames" in text


async def test_endpoints_that_cannot_be_had(folder: Path, sockets: contextlib.ExitStack) -> None:
    with pytest.raises(LocalError, match="CCTV3_RUN"):
        bus.ipc_endpoint(folder / ("x" * 100), "control")
    with pytest.raises(LocalError, match="cannot bind"):
        bus.MediaPublisher(f"ipc://{folder}/none/control.sock", lambda topic, on: None)


async def test_close_twice_and_use_after_close(folder: Path) -> None:
    publisher = bus.MediaPublisher(bus.ipc_endpoint(folder, "a"), lambda topic, on: None)
    publisher.close()
    publisher.close()
    publisher.publish([b"t", b"h"])
