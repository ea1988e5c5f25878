"""One RTP track of one connection: packets in, whole frames and sender reports out to the sink (RFC 3550)."""

from collections import deque
from typing import Literal

from common.errors import CameraError
from common.rtp import HEADER, HEADER_SIZE, Goodbye, RtpError, SenderReport, parse_rtcp, parse_rtp
from ingest.codecs.frame import Depacketizer, VideoParameters
from ingest.codecs.registry import depacketizer_for
from ingest.reception import Arrival, Reception
from ingest.reorder import ReorderBuffer
from ingest.rtsp.sdp import Track
from ingest.source import Sink

# A camera that begins its stream anew does so once in a while; two senders on one port do it per packet.
MAX_RESTARTS = 20
RESTARTS_WITHIN_S = 10.0
_PLAIN = 0x80  # version 2 without padding, extension and CSRC list


def _fields(data: bytes) -> tuple[int, bool, int, int, int, bytes]:
    """Payload type, marker, sequence, timestamp, SSRC and payload of an RTP packet; raises RtpError.

    Nearly all packets have the plain header; reading it in place takes a third of what `parse_rtp` does.
    """
    if len(data) >= HEADER_SIZE and data[0] == _PLAIN:
        _, second, sequence, timestamp, ssrc = HEADER.unpack_from(data)
        return second & 0x7F, second >= 0x80, sequence, timestamp, ssrc, data[HEADER_SIZE:]
    packet = parse_rtp(data)
    return (
        packet.payload_type,
        packet.marker,
        packet.sequence,
        packet.timestamp,
        packet.ssrc,
        packet.payload,
    )


class RtpTrack:
    """A SourceTrack that is fed with packets.

    `index` is its place among the tracks of `sink`; `own_ssrc` and `cname` sign the receiver reports. Packets
    of a transport that does not keep their order go through `reorder`: then `poll` has to be called at
    `deadline`. Raises UnreadableTrack, and CameraError when video ends or its source changes all the time;
    sound that does so leaves the picture alone. What the depacketizer and the sink raise passes through.
    """

    def __init__(
        self,
        description: Track,
        index: int,
        sink: Sink,
        own_ssrc: int,
        cname: str,
        reorder: ReorderBuffer | None = None,
    ) -> None:
        self.last_packet_at: float | None = None
        "When the last packet with a payload for the depacketizer came, in monotonic seconds."
        self.malformed = 0
        "RTP and RTCP packets that could not be read."
        self.note: str | None = None
        "Why its sound does not come any more, in words."
        self._description = description
        self._index = index
        self._sink = sink
        self._reorder = reorder
        self._reception = Reception(description.clock_rate, own_ssrc, cname)
        self._format = depacketizer_for(description)
        self._depacketizer = self._format.depacketizer
        self._damaged_before = 0
        self._restarts: deque[float] = deque(maxlen=MAX_RESTARTS)
        self._late = 0
        self._passed_over: dict[str, int] = {}
        self._after_loss = False
        self._left_out = False

    @property
    def kind(self) -> Literal["video", "audio"]:
        return self._description.kind

    @property
    def codec(self) -> str:
        """As on the bus."""
        return self._format.codec

    @property
    def clock_rate(self) -> int:
        """Ticks per second of its timestamps."""
        return self._format.clock_rate

    @property
    def channels(self) -> int:
        """Of audio; 0 for video."""
        return self._format.channels

    @property
    def config(self) -> bytes:
        """AudioSpecificConfig of AAC; empty for all others."""
        return self._format.config

    @property
    def parameters(self) -> VideoParameters | None:
        """Of the newest parameter sets."""
        return self._depacketizer.parameters

    @property
    def lost(self) -> int:
        """Packets missing by sequence number."""
        return self._reception.lost

    @property
    def reordered(self) -> int:
        """Packets that came late and were put back in order."""
        return self._reorder.reordered if self._reorder else 0

    @property
    def dropped(self) -> int:
        """Packets that came twice or too late to be put back in order."""
        return self._late + (self._reorder.dropped if self._reorder else 0)

    @property
    def damaged(self) -> int:
        """Frames dropped because a part was missing or broken."""
        return self._damaged_before + self._depacketizer.damaged

    @property
    def passed_over(self) -> str | None:
        """Which packets came since the last one of use, in words; None when none did."""
        found = sorted(self._passed_over.items(), key=lambda item: -item[1])
        return " and ".join(f"{count} packets {why}" for why, count in found[:2]) or None

    @property
    def jitter_s(self) -> float:
        """Interarrival jitter (RFC 3550 section 6.4.1)."""
        return self._reception.jitter_s

    @property
    def deadline(self) -> float | None:
        """When to call `poll`, in monotonic seconds; None while no packet is held."""
        return self._reorder.deadline if self._reorder else None

    def rtp(self, packets: list[bytes], now: float, arrival_ns: int) -> None:
        """Takes packets as they came; `now` in monotonic seconds, `arrival_ns` in UTC nanoseconds.

        Packets that are not RTP are counted and passed over.
        """
        timed = True
        if (reorder := self._reorder) is not None:
            # What waited for packets before it says nothing about when it came.
            timed = reorder.deadline is None
            packets = reorder.push(packets, now)
        self._in_order(packets, now, arrival_ns, timed)

    def poll(self, now: float, arrival_ns: int) -> None:
        """Goes on without packets that have been missing for too long."""
        if self._reorder is not None:
            self._in_order(self._reorder.poll(now), now, arrival_ns, timed=False)

    def _in_order(self, packets: list[bytes], now: float, arrival_ns: int, timed: bool) -> None:
        if self._left_out:
            return
        reception, depacketizer, after_loss = self._reception, self._depacketizer, self._after_loss
        wanted = self._description.payload_type
        of_use = False
        for data in packets:
            try:
                payload_type, marker, sequence, timestamp, ssrc, payload = _fields(data)
            except RtpError:
                self.malformed += 1
                self._pass_over("that cannot be read as RTP")
                continue
            if payload_type != wanted and ssrc != reception.ssrc:
                self._pass_over_type(payload_type)
                continue
            arrival = reception.packet(ssrc, sequence, timestamp, now, timed)
            if arrival is not Arrival.IN_ORDER:
                if arrival is Arrival.LATE:
                    self._late += 1
                    self._pass_over("whose sequence number came before")
                    continue
                after_loss = arrival is Arrival.AFTER_LOSS
                if arrival is Arrival.RESTARTED:
                    if self._changes_all_the_time(now):
                        return
                    depacketizer = self._restart()
            # Another payload type of the same source (keep-alive, comfort noise, redundancy) only counts.
            if payload_type != wanted:
                self._pass_over_type(payload_type)
                continue
            depacketizer.push(timestamp, marker, payload, arrival_ns, after_loss)
            after_loss = False
            if payload:
                of_use = True
            else:
                self._pass_over("without a payload")
        self._after_loss = after_loss
        if of_use:
            self.last_packet_at = now
            self.note = None
            if self._passed_over:
                self._passed_over.clear()
        if frames := depacketizer.frames():
            self._sink.frames(self._index, frames)

    def _pass_over(self, why: str) -> None:
        self._passed_over[why] = self._passed_over.get(why, 0) + 1

    def _pass_over_type(self, payload_type: int) -> None:
        self._pass_over(f"of payload type {payload_type} (its SDP says {self._description.payload_type})")

    def _changes_all_the_time(self, now: float) -> bool:
        """Another source follows, one of too many: raises CameraError for video, leaves out sound."""
        restarts = self._restarts
        restarts.append(now)
        if len(restarts) < MAX_RESTARTS or now - restarts[0] > RESTARTS_WITHIN_S:
            return False
        what = (
            f"began anew {MAX_RESTARTS} times within {RESTARTS_WITHIN_S:g} s, by another SSRC (now "
            f"{self._reception.ssrc or 0:#010x}) or sequence number; look whether two senders share one port "
            "or group, else restart the camera"
        )
        if self.kind == "video":
            raise CameraError(f"camera's video {what}")
        self.note = f"audio is left out: it {what}"
        self._left_out = True
        return True

    def _restart(self) -> Depacketizer:
        """Another source follows; gives its depacketizer."""
        if frames := self._depacketizer.frames():
            self._sink.frames(self._index, frames)
        self._damaged_before = self.damaged
        self._format = depacketizer_for(self._description)
        self._depacketizer = self._format.depacketizer
        self._sink.restarted(self._index)
        return self._depacketizer

    def rtcp(self, packets: list[bytes], now: float, arrival_ns: int) -> None:
        """Takes compound RTCP packets; raises CameraError when the video says goodbye (section 6.6)."""
        if self._left_out:
            return
        for data in packets:
            try:
                compound = parse_rtcp(data)
            except RtpError:
                self.malformed += 1
                continue
            for packet in compound:
                # In a multicast group the other receivers are heard as well.
                match packet:
                    case SenderReport() if self._reception.ssrc in (None, packet.ssrc):
                        self._reception.sender_report(packet, now)
                        self._sink.sender_report(self._index, packet, arrival_ns)
                    case Goodbye() if self._reception.ssrc in packet.ssrcs:
                        if self.kind == "audio":
                            self.note = "audio has ended: camera said goodbye to it (RTCP BYE)"
                            continue
                        raise CameraError("camera ended the stream by RTCP BYE")

    def receiver_report(self, now: float) -> bytes:
        """What to tell the camera every 5 s (section 6.4.2)."""
        return self._reception.report(now)
