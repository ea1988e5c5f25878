"""Hostile feedback to a real viewing: what it keeps is bounded, and so is what it sends for it."""

import functools
from collections.abc import Sequence
from unittest import mock

from common.messages import Rendition
from common.rtp import RtpError, parse_rtcp
from fanout.egress import Egress, Extensions
from fanout.losses import MAX_SAMPLES
from fanout.outlet import Outlet
from fanout.probe_run import MAX_PROBE_PACKETS
from fanout.retransmission import BURST_OCTETS, LOOKUP_OCTETS, MAX_REMEMBERED
from fanout.sdp.formats import Format
from fanout.sdp.offer import MediaChoice
from fanout.srtp import MasterKey
from fanout.stream import Stream
from fanout.track import Track
from fanout.viewing import Viewing
from tests.fanout.units import access_unit
from tests.fuzz import corpus_media as corpus
from tests.fuzz.corpus import unframed
from tests.fuzz.engine import Target


class _Way:
    """A path of neither kind of socket; full now and then."""

    destination = None
    waiting_octets = 0

    def __init__(self) -> None:
        self.packets = 0
        self.octets = 0

    def send_datagram(self, data: bytes) -> None:
        raise AssertionError("feedback is not answered with control packets")

    def send_packets(self, packets: Sequence[bytes]) -> bool:
        self.packets += len(packets)
        self.octets += sum(map(len, packets))
        return self.packets % 97 != 0


class _Stream(Stream):
    """A rendition of a camera that speaks always, without the bus."""

    def __init__(self, rendition: Rendition, size: int) -> None:
        egress = Egress(-1, -1, False)
        self.camera = "gate"
        self.rendition = rendition
        self.unsendable = None
        self.video = Track("fuzz", egress, 90_000)
        self.audio = Track("fuzz", egress, 8000)
        self._awaiting = {}
        for number in range(24):
            self.video.video(access_unit(number, number % 12 == 0, size))
        self.video.bitrate = size * 200

    def _is_silent(self) -> bool:
        return False


class _Pool:
    """Both renditions, with a count of users."""

    def __init__(self) -> None:
        self.streams = {"main": _Stream("main", 3000), "sub": _Stream("sub", 300)}
        self.users = 0

    def acquire(self, camera: str, rendition: str, endpoint: str) -> _Stream:
        self.users += 1
        return self.streams[rendition]

    def release(self, stream: _Stream) -> None:
        self.users -= 1

    def bitrate(self, camera: str, rendition: str) -> int:
        return self.streams[rendition].video.bitrate


class _Pacer:
    """Pumps when it is told to, as if time had gone by."""

    def __init__(self) -> None:
        self._paced: list[object] = []

    def add(self, paced: object) -> None:
        if paced not in self._paced:
            self._paced.append(paced)

    def discard(self, paced: object) -> None:
        if paced in self._paced:
            self._paced.remove(paced)

    def pump(self, now: float) -> None:
        for paced in tuple(self._paced):
            due: float | None = now
            while due is not None and due < now + 0.1:
                due = paced.pump(due)  # type: ignore[attr-defined]
            if due is None:
                self.discard(paced)


_pool = functools.cache(_Pool)
_OFFER = mock.Mock(
    video=MediaChoice(0, (Format("H264", 102, "", 103),), frozenset(), Extensions(4, 12, 5)), audio=None
)
_MASTER = MasterKey("SRTP_AEAD_AES_128_GCM", bytes(16), bytes(12))
_SSRCS = (corpus.VIDEO_SSRC, corpus.RTX_SSRC, corpus.AUDIO_SSRC)


def _feedback(pieces: Sequence[bytes]) -> None:
    pool, pacer, way = _pool(), _Pacer(), _Way()
    begun = pool.users
    outlet = Outlet(Egress(-1, -1, False), way)
    problems: list[str] = []
    with mock.patch("fanout.viewing.random_index", lambda: corpus.FIRST_INDEX):
        viewing = Viewing(
            _OFFER, _MASTER, _SSRCS, outlet, pacer, pool,  # type: ignore[arg-type]
            pool.acquire("gate", "main", ""),  # type: ignore[arg-type]
            ("main", "sub"), (), "", "auto", 100.0, problems.append, lambda *_: None,
        )  # fmt: skip
    now = begin = 100.0
    pacer.pump(now)
    for datagram in filter(None, unframed(b"".join(pieces))):
        now += datagram[0] / 100
        try:
            packets = parse_rtcp(datagram[1:])
        except RtpError:
            continue
        sent = way.packets
        viewing.on_rtcp(packets, now)
        # Of the whole burst that NACKs may ask for, no more than one of each packet.
        assert way.packets - sent <= BURST_OCTETS // LOOKUP_OCTETS
        pacer.pump(now)
        viewing.check(now)
        _bounded(viewing)
    again = viewing._retransmitter
    most = BURST_OCTETS + (now - begin) * pool.streams["main"].video.bitrate / 8
    assert again.packets * LOOKUP_OCTETS <= most
    viewing.close()
    assert not problems and pool.users == begun
    assert not any(stream.video.receivers for stream in pool.streams.values())


def _bounded(viewing: Viewing) -> None:
    link = viewing._link
    assert len(link._acknowledged) <= MAX_SAMPLES and len(link._queues) <= MAX_SAMPLES
    for losses in (link._losses, link._report_losses):
        assert len(losses._window) <= MAX_SAMPLES and 0 <= losses.share <= 1
    assert link._probe is None or len(link._probe.points) <= MAX_PROBE_PACKETS
    assert link.queue_s is None or link.queue_s < 1e6
    assert link.available_bitrate is None or link.available_bitrate >= 0
    assert link.rtt_s is None or 0 <= link.rtt_s <= 10
    assert len(viewing._retransmitter._repeated) <= MAX_REMEMBERED


TARGETS = (Target("feedback", corpus.FEEDBACK, _feedback, (), streams=False),)
