"""One RTP track of one connection: packets in, whole frames and sender reports out to the sink (RFC 3550)."""

from typing import Literal

from common.errors import CameraError
from common.rtp import HEADER, HEADER_SIZE, Goodbye, RtpError, SenderReport, parse_rtcp, parse_rtp
from ingest.codecs.frame import Depacketizer, VideoParameters
from ingest.codecs.registry import depacketizer_for
from ingest.reception import Arrival, Reception
from ingest.reorder import ReorderBuffer
from ingest.rtsp.sdp import Track
from ingest.source import Sink

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
    `deadline`. Raises UnreadableTrack; what depacketizer and sink raise passes through.
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
        "Monotonic seconds."
        self.malformed = 0
        "RTP and RTCP packets that could not be read."
        self._description = description
        self._index = index
        self._sink = sink
        self._reorder = reorder
        self._reception = Reception(description.clock_rate, own_ssrc, cname)
        self._format = depacketizer_for(description)
        self._depacketizer = self._format.depacketizer
        self._damaged_before = 0
        self._after_loss = False

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
        return self._reorder.dropped if self._reorder else 0

    @property
    def damaged(self) -> int:
        """Frames dropped because a part was missing or broken."""
        return self._damaged_before + self._depacketizer.damaged

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
        self.last_packet_at = now
        if self._reorder is not None:
            packets = self._reorder.push(packets, now)
        self._in_order(packets, now, arrival_ns)

    def poll(self, now: float, arrival_ns: int) -> None:
        """Goes on without packets that have been missing for too long."""
        if self._reorder is not None:
            self._in_order(self._reorder.poll(now), now, arrival_ns)

    def _in_order(self, packets: list[bytes], now: float, arrival_ns: int) -> None:
        reception, depacketizer, after_loss = self._reception, self._depacketizer, self._after_loss
        wanted = self._description.payload_type
        for data in packets:
            try:
                payload_type, marker, sequence, timestamp, ssrc, payload = _fields(data)
            except RtpError:
                self.malformed += 1
                continue
            if payload_type != wanted and ssrc != reception.ssrc:
                continue
            arrival = reception.packet(ssrc, sequence, timestamp, now)
            if arrival is not Arrival.IN_ORDER:
                if arrival is Arrival.LATE:
                    continue
                after_loss = arrival is Arrival.AFTER_LOSS
                if arrival is Arrival.RESTARTED:
                    depacketizer = self._restart()
            # Another payload type of the same source (keep-alive, comfort noise, redundancy) only counts.
            if payload_type == wanted:
                depacketizer.push(timestamp, marker, payload, arrival_ns, after_loss)
                after_loss = False
        self._after_loss = after_loss
        if frames := depacketizer.frames():
            self._sink.frames(self._index, frames)

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
        """Takes compound RTCP packets; raises CameraError when the camera says goodbye (section 6.6)."""
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
                        raise CameraError("camera ended the stream by RTCP BYE")

    def receiver_report(self, now: float) -> bytes:
        """What to tell the camera every 5 s (section 6.4.2)."""
        return self._reception.report(now)
