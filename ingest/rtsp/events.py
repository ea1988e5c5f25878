"""What a session tells its caller, and what it is told before it starts."""

from dataclasses import dataclass

from ingest.rtsp.auth import Challenge
from ingest.rtsp.sdp import Track
from ingest.rtsp.transport import Transport, TransportKind

MAX_TRACKS = 2  # one video, one audio


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How to play."""

    transport: TransportKind = "tcp"
    audio: bool = True
    client_ports: tuple[tuple[int, int], ...] = ()
    "Ours for RTP and RTCP over UDP, a pair for each of MAX_TRACKS."
    challenge: Challenge | None = None
    "Known from an earlier connection to this camera; the first request carries its answer."


@dataclass(frozen=True, slots=True)
class SetUp:
    """A SETUP was answered: sockets can be readied before PLAY."""

    track: int
    description: Track
    transport: Transport


@dataclass(frozen=True, slots=True)
class Playing:
    """The camera plays these; comes once, before any media."""

    tracks: tuple[Track, ...]


@dataclass(frozen=True, slots=True)
class RtpData:
    """RTP packets of `Playing.tracks[track]`, in their order; interleaved ones only."""

    track: int
    packets: list[bytes]


@dataclass(frozen=True, slots=True)
class RtcpData:
    """Compound RTCP packets of `Playing.tracks[track]`; interleaved ones only."""

    track: int
    packets: list[bytes]


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is over by agreement: TEARDOWN was answered."""


Event = SetUp | Playing | RtpData | RtcpData | Ended
