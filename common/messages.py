"""Every message of the control channel, as frozen data (docs/bus.md has them frame by frame).

A peer (`ingest` or `fanout`) says `Hello` first and again when asked, then a report every second. A request
carries a request id and is answered by its reply or by `Refused`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

PROTOCOL_VERSION = 1

CameraState = Literal["idle", "connecting", "live", "backing_off"]


@dataclass(frozen=True, slots=True)
class IngestHello:
    """An ingest process introduces itself."""

    TYPE: ClassVar[str] = "ingest-hello"
    camera: str
    epoch: int
    pid: int
    media_endpoint: str
    "ZeroMQ endpoint of its XPUB socket."


@dataclass(frozen=True, slots=True)
class SessionEntry:
    """One viewer session as a worker knows it."""

    session: str
    camera: str


@dataclass(frozen=True, slots=True)
class FanoutHello:
    """A fanout worker introduces itself, with the sessions that it serves already."""

    TYPE: ClassVar[str] = "fanout-hello"
    worker: str
    epoch: int
    pid: int
    sessions: tuple[SessionEntry, ...]


@dataclass(frozen=True, slots=True)
class HelloWanted:
    """Signaling asks a peer that it does not know for its hello."""

    TYPE: ClassVar[str] = "hello-wanted"


@dataclass(frozen=True, slots=True)
class CameraReport:
    """An ingest's heartbeat: what its camera does now. Rates are over the last seconds."""

    TYPE: ClassVar[str] = "camera-report"
    camera: str
    state: CameraState
    codec: str | None
    "RTP encoding name, None until known."
    profile_level_id: str | None
    profile: str | None
    width: int | None
    height: int | None
    fps: float | None
    bitrate: int | None
    "Bits per second of access units."
    gop_s: float | None
    "Seconds between the last two keyframes."
    access_units: int
    "Published since the process started."
    lost_packets: int
    "Gaps in RTP sequence numbers since the process started."
    last_access_unit_age_s: float | None
    reconnects: int
    error: str | None
    "The last failure in words, without credentials; None while live."


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """A worker's heartbeat: its measured load."""

    TYPE: ClassVar[str] = "worker-report"
    worker: str
    viewers: int
    cpu: float
    "CPU time over wall time of this process in the last second, 0 to 1 per core."
    loop_lag_s: float
    "Longest time that the event loop was late in the last second."
    packets_per_s: float
    dropped_frames: int
    "Frames not sent to slow viewers, since the process started."


@dataclass(frozen=True, slots=True)
class OfferRequest:
    """Signaling asks a worker to serve a viewer."""

    TYPE: ClassVar[str] = "offer"
    session: str
    camera: str
    media_endpoint: str
    profile_level_id: str | None
    "The stream's real profile where it is known already."
    sdp: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A worker's SDP answer to an offer."""

    TYPE: ClassVar[str] = "answer"
    session: str
    sdp: str
    ice_ufrag: str
    "Names this ICE session in the WHEP entity-tag."


@dataclass(frozen=True, slots=True)
class CandidateRequest:
    """A trickled candidate of the viewer (RFC 8840 SDP fragment)."""

    TYPE: ClassVar[str] = "candidate"
    session: str
    sdp_fragment: str


@dataclass(frozen=True, slots=True)
class CloseRequest:
    """Signaling asks a worker to end a session."""

    TYPE: ClassVar[str] = "close"
    session: str


@dataclass(frozen=True, slots=True)
class Done:
    """Reply of a request that has nothing else to say."""

    TYPE: ClassVar[str] = "done"


RefusalKind = Literal["bad-offer", "not-acceptable", "unknown-session", "overloaded", "internal"]


@dataclass(frozen=True, slots=True)
class Refused:
    """Reply of a request that was not carried out; `detail` is for people and names the mend."""

    TYPE: ClassVar[str] = "refused"
    kind: RefusalKind
    detail: str


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """A worker tells signaling that a session is over."""

    TYPE: ClassVar[str] = "session-ended"
    session: str
    reason: str


Message = (
    IngestHello
    | FanoutHello
    | HelloWanted
    | CameraReport
    | WorkerReport
    | OfferRequest
    | Answer
    | CandidateRequest
    | CloseRequest
    | Done
    | Refused
    | SessionEnded
)
