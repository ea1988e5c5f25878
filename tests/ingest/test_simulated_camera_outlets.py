"""Ways out: frames of a connection, and UDP."""

import asyncio
import socket

import pytest

from common.errors import LocalError
from ingest.simulated import outlets
from ingest.simulated.outlets import MAX_UNSENT_BYTES, DatagramOutlet, InterleavedOutlet, MediaSockets


class Writer:
    """What of a StreamWriter an outlet needs."""

    def __init__(self) -> None:
        self.unsent = 0
        self.written = b""
        self.transport = self

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def write(self, data: bytes) -> None:
        self.written += data


def test_interleaved_begins_with_a_keyframe() -> None:
    writer = Writer()
    outlet = InterleavedOutlet(writer, 4, 5)
    outlet.send([b"P"], keyframe=False)
    outlet.send_report(b"R")
    assert (writer.written, outlet.dropped) == (b"", 1)
    outlet.send([b"I", b"II"], keyframe=True)
    outlet.send_report(b"R")
    assert writer.written == b"$\x04\x00\x01I$\x04\x00\x02II$\x05\x00\x01R"


def test_a_client_that_does_not_read_loses_pictures_up_to_a_keyframe() -> None:
    writer = Writer()
    outlet = InterleavedOutlet(writer, 0, 1)
    outlet.send([b"1"], keyframe=True)
    writer.unsent = MAX_UNSENT_BYTES + 1
    outlet.send([b"2"], keyframe=True)
    writer.unsent = 0
    outlet.send([b"3"], keyframe=False)
    outlet.send([b"4"], keyframe=True)
    assert writer.written == b"$\x00\x00\x011$\x00\x00\x014"
    assert outlet.dropped == 2


async def test_datagrams_come_from_a_pair_of_ports() -> None:
    loop = asyncio.get_running_loop()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtcp,
    ):
        for receiver in (rtp, rtcp):
            receiver.bind(("127.0.0.1", 0))
            receiver.setblocking(False)
        sockets = MediaSockets(socket.AF_INET, "127.0.0.1")
        try:
            assert sockets.ports[0] % 2 == 0
            assert sockets.ports[1] == sockets.ports[0] + 1
            ports = rtp.getsockname()[1], rtcp.getsockname()[1]
            outlet = DatagramOutlet(sockets, "127.0.0.1", *ports)
            outlet.send([b"one", b"two"], keyframe=False)
            outlet.send_report(b"report")
            async with asyncio.timeout(5):
                data, sender = await loop.sock_recvfrom(rtp, 100)
                assert (data, sender[1]) == (b"one", sockets.ports[0])
                assert (await loop.sock_recvfrom(rtp, 100))[0] == b"two"
                data, sender = await loop.sock_recvfrom(rtcp, 100)
                assert (data, sender[1]) == (b"report", sockets.ports[1])
            assert outlet == DatagramOutlet(sockets, "127.0.0.1", *ports)
            assert len({outlet, DatagramOutlet(sockets, "127.0.0.1", *ports)}) == 1
        finally:
            sockets.close()
    outlet.send([b"lost"], keyframe=True)
    outlet.send_report(b"lost")


def test_no_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlets, "_BIND_TRIES", 2)
    with pytest.raises(LocalError, match="side by side"):
        MediaSockets(socket.AF_INET, "192.0.2.1")
