"""One camera's video over all its connections: RTP and RTCP in, numbered access units out."""

from common.access_unit import AccessUnit
from common.h264 import NAL_SPS, H264Error, SequenceParameters, parse_sps
from common.rtp import HEADER, HEADER_SIZE, Goodbye, RtpError, SenderReport, parse_rtcp, parse_rtp
from common.units import VIDEO_CLOCK_RATE
from ingest.depacketizer import Depacketizer, Picture
from ingest.reception import Arrival, Reception
from ingest.rtsp.sdp import VideoTrack
from ingest.timeline import Timeline

CODEC = "H264"

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


class VideoStream:
    """Makes access units of what the connections bring.

    Sequence numbers and timestamps go on over reconnections; wherever pictures are missing, the sequence
    leaves one number out, which tells readers to wait for the next keyframe.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.next_sequence = 0
        "Sequence number of the next access unit, if no gap comes before it."
        self.published = 0
        self.malformed = 0
        "RTP and RTCP packets that could not be read."
        self.parameters: SequenceParameters | None = None
        self._sps: bytes | None = None
        self._timeline = Timeline()
        self._lost_before = 0
        self._damaged_before = 0
        self._track: VideoTrack | None = None
        self._reception: Reception | None = None
        self._depacketizer: Depacketizer | None = None

    @property
    def lost_packets(self) -> int:
        """Missing RTP sequence numbers, over all connections."""
        return self._lost_before + (self._reception.lost if self._reception else 0)

    @property
    def damaged(self) -> int:
        """Access units dropped because a part was missing or broken, over all connections."""
        return self._damaged_before + (self._depacketizer.damaged if self._depacketizer else 0)

    def restart(self, track: VideoTrack, own_ssrc: int, cname: str) -> None:
        """A new connection plays `track`; reports about it are signed with `own_ssrc` and `cname`."""
        self._lost_before = self.lost_packets
        self._damaged_before = self.damaged
        self._track = track
        self._reception = Reception(VIDEO_CLOCK_RATE, own_ssrc, cname)
        self._depacketizer = Depacketizer(track.parameter_sets)
        self._timeline.restart()

    def rtp(self, packets: list[bytes], now: float, arrival_ns: int) -> list[AccessUnit]:
        """The access units that are complete with these packets.

        `now` in monotonic seconds, `arrival_ns` in UTC nanoseconds. Raises DepacketizerError when the camera
        passes the limits of an access unit; packets that are not RTP are counted and passed over.
        """
        reception, depacketizer, track = self._reception, self._depacketizer, self._track
        if reception is None or depacketizer is None or track is None:
            return []
        units: list[AccessUnit] = []
        for data in packets:
            try:
                payload_type, marker, sequence, timestamp, ssrc, payload = _fields(data)
            except RtpError:
                self.malformed += 1
                continue
            if payload_type != track.payload_type:
                continue
            arrival = reception.packet(ssrc, sequence, timestamp, now)
            if arrival is Arrival.LATE:
                continue
            if arrival is Arrival.RESTARTED:
                units += map(self._access_unit, depacketizer.pictures())
                self._damaged_before += depacketizer.damaged
                depacketizer = self._depacketizer = Depacketizer(track.parameter_sets)
                self._timeline.restart()
            depacketizer.push(timestamp, marker, payload, arrival_ns, arrival is Arrival.AFTER_LOSS)
        units += map(self._access_unit, depacketizer.pictures())
        return units

    def _access_unit(self, picture: Picture) -> AccessUnit:
        sequence = self.next_sequence + (picture.gap and self.published > 0)
        self.next_sequence = sequence + 1
        self.published += 1
        timestamp, capture_ns = self._timeline.place(picture.timestamp, picture.arrival_ns)
        if picture.keyframe:
            self._look_at_parameters(picture.nals)
        return AccessUnit(
            epoch=self.epoch,
            sequence=sequence,
            track="video",
            codec=CODEC,
            timestamp=timestamp,
            capture_ns=capture_ns,
            arrival_ns=picture.arrival_ns,
            keyframe=picture.keyframe,
            nals=picture.nals,
        )

    def rtcp(self, data: bytes, now: float) -> bool:
        """Reads a compound packet; True when the camera says goodbye (RFC 3550 section 6.6)."""
        try:
            packets = parse_rtcp(data)
        except RtpError:
            self.malformed += 1
            return False
        goodbye = False
        for packet in packets:
            match packet:
                case SenderReport():
                    self._timeline.sender_report(packet)
                    if self._reception is not None:
                        self._reception.sender_report(packet, now)
                case Goodbye():
                    goodbye = True
        return goodbye

    def receiver_report(self, now: float) -> bytes | None:
        """What to tell the camera every 5 s; None before it plays."""
        return self._reception.report(now) if self._reception else None

    def _look_at_parameters(self, nals: tuple[bytes, ...]) -> None:
        sps = next(nal for nal in nals if nal[0] & 0x1F == NAL_SPS)
        if sps == self._sps:
            return
        self._sps = sps
        try:
            self.parameters = parse_sps(sps)
        except H264Error:
            # The stream is passed on all the same; browsers read more than this program does.
            self.parameters = None
