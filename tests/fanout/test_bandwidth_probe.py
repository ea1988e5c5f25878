"""A probe: so many octets of old packets at a rate, and exactly one end, whatever happens."""

import asyncio
from collections.abc import Iterator

import pytest

from fanout.bandwidth_probe import PORTION_S, BandwidthProbe
from fanout.pacer import Pacer
from fanout.retransmission import Retransmitter
from fanout.sent import SentPacket
from tests.fanout.outgoing import RTX_PAYLOAD_TYPES, RTX_SSRC, FullPath, Wire


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    for number in range(10):
        wire.send(wire.source.make(number, keyframe=number == 0))
    wire.received()
    yield wire
    wire.close()


class Probing:
    """A probe that the test pumps."""

    def __init__(self, wire: Wire, bitrate: int, octets: int) -> None:
        self.wire = wire
        self.ends = 0
        packets = wire.sender.sent.recent(wire.lane.index, 16)
        answers = Retransmitter(wire.outlet, wire.lane, wire.sender.sent, wire.rtx, RTX_PAYLOAD_TYPES)
        self.probe = BandwidthProbe(answers, wire, packets, bitrate, octets, self.end)
        assert wire.paced == [self.probe]

    def end(self) -> None:
        self.ends += 1

    def run(self) -> float:
        """Pumps to the end; gives how long it took."""
        now = self.wire.now
        while (due := self.probe.pump(now)) is not None:
            assert self.ends == 0
            now = due
        return now - self.wire.now


def test_it_sends_its_octets_at_its_rate_and_ends_once(wire: Wire) -> None:
    probing = Probing(wire, 2_000_000, 50_000)
    took_s = probing.run()
    assert probing.ends == 1
    assert took_s == pytest.approx(50_000 * 8 / 2_000_000, abs=2 * PORTION_S)
    again = wire.received()
    assert {packet.ssrc for packet in again} == {RTX_SSRC}
    assert sum(len(packet.payload) - 2 for packet in again) == pytest.approx(50_000, abs=1150)
    # Each is there about as often as any other.
    assert len({packet.payload[:2] for packet in again}) == 16


def test_a_way_that_is_full_ends_it(wire: Wire) -> None:
    path = FullPath()
    path.full = True
    wire.outlet.aim(path)
    probing = Probing(wire, 2_000_000, 50_000)
    assert probing.probe.pump(wire.now) is None and probing.ends == 1


async def test_one_that_fails_ends_and_is_paced_no_more(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Retransmitter):
        tries = 0

        def repeat(self, packet: SentPacket) -> bool:
            self.tries += 1
            raise OverflowError

    answers = Broken(wire.outlet, wire.lane, wire.sender.sent, wire.rtx, RTX_PAYLOAD_TYPES)
    pacer = Pacer()
    ended = asyncio.Event()
    packets = wire.sender.sent.recent(wire.lane.index, 16)
    BandwidthProbe(answers, pacer, packets, 2_000_000, 50_000, ended.set)
    await asyncio.wait_for(ended.wait(), 5)
    await asyncio.sleep(4 * PORTION_S)
    assert answers.tries == 1
    assert sum("given up" in record.getMessage() for record in caplog.records) == 1
    pacer.close()


def test_closed_it_is_paced_no_more(wire: Wire) -> None:
    probing = Probing(wire, 2_000_000, 50_000)
    probing.probe.close()
    assert wire.paced == [] and probing.ends == 0
