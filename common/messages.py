"""Every message of the control channel, as frozen data (docs/bus.md has them frame by frame).

A peer (`ingest` or `fanout`) says `Hello` first and again when asked, then a report every second. A request
carries a request id and is answered by its reply or by `Refused`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

PROTOCOL_VERSION = 6

Rendition = Literal["main", "sub"]
RENDITIONS: tuple[Rendition, ...] = ("main", "sub")
Quality = Literal["auto", "main", "sub", "keyframes"]
QUALITIES: tuple[Quality, ...] = ("auto", "main", "sub", "keyframes")
RenditionState = Literal["idle", "connecting", "live", "stalled", "backing_off", "failed"]


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
class Watcher:
    """Who watches: rides along with a session, so that a restarted signaling knows whose it is."""

    name: str
    kind: Literal["anonymous", "user", "token", "link"]
    role: Literal["viewer", "operator", "admin"]
    cameras: tuple[str, ...]
    "Name patterns."
    credential: str
    "Names the login, token or link; never a secret."
    expires_at: float | None
    "UTC seconds since 1970."
    address: str
    "IP address that the session was asked for from."


ANYBODY = Watcher("anonymous", "anonymous", "viewer", ("*",), "", None, "")


@dataclass(frozen=True, slots=True)
class SessionEntry:
    """One viewer session as a worker knows it."""

    session: str
    camera: str
    watcher: Watcher = ANYBODY


@dataclass(frozen=True, slots=True)
class HelloSession:
    """A session in a hello; of who watches it, only where in the hello that is said."""

    session: str
    camera: str
    watcher: int
    patterns: int


@dataclass(frozen=True, slots=True)
class FanoutHello:
    """A fanout worker introduces itself, with the sessions that it serves already.

    A user may have many sessions and long lists of cameras: what is the same is said once.
    """

    TYPE: ClassVar[str] = "fanout-hello"
    worker: str
    epoch: int
    pid: int
    draining: bool
    "It takes no more viewers (`DrainRequest`)."
    watchers: tuple[Watcher, ...]
    "Without their cameras."
    patterns: tuple[tuple[str, ...], ...]
    "The cameras of watchers."
    sessions: tuple[HelloSession, ...]

    @classmethod
    def of(cls, worker: str, epoch: int, pid: int, draining: bool, entries: Iterable[SessionEntry]) -> Self:
        """The hello of a worker that serves `entries`."""
        watchers: dict[Watcher, int] = {}
        patterns: dict[tuple[str, ...], int] = {}
        sessions = tuple(
            HelloSession(
                entry.session,
                entry.camera,
                watchers.setdefault(replace(entry.watcher, cameras=()), len(watchers)),
                patterns.setdefault(entry.watcher.cameras, len(patterns)),
            )
            for entry in entries
        )
        return cls(worker, epoch, pid, draining, tuple(watchers), tuple(patterns), sessions)

    def entries(self) -> tuple[SessionEntry, ...]:
        """The sessions, each with who watches it."""
        return tuple(
            SessionEntry(
                each.session,
                each.camera,
                replace(self.watchers[each.watcher], cameras=self.patterns[each.patterns]),
            )
            for each in self.sessions
        )


@dataclass(frozen=True, slots=True)
class HelloWanted:
    """Signaling asks a peer that it does not know for its hello."""

    TYPE: ClassVar[str] = "hello-wanted"


@dataclass(frozen=True, slots=True)
class VideoReport:
    """What is known of a video track, measured. Rates are over the last seconds."""

    codec: str
    profile: str | None
    "Name for people: `High`, `Main 10`, …"
    profile_level_id: str | None
    "H.264 only: six hex digits (RFC 6184 section 8.1)."
    profile_tier_level: str | None
    "H.265 only: `profile-id=1;tier-flag=0;level-id=93` (RFC 7798 section 7.1)."
    width: int | None
    height: int | None
    fps: float | None
    bitrate: int | None
    "Bits per second of access units."
    peak_bitrate: int | None
    "Of the busiest second in the last minute."
    gop_s: float | None
    "Seconds between the last two keyframes."
    gop_frames: int | None
    b_frames: bool | None
    "Pictures leave the camera in another order than they are shown; None until enough were seen."


@dataclass(frozen=True, slots=True)
class AudioReport:
    """What is known of an audio track."""

    codec: str
    clock_rate: int
    channels: int
    bitrate: int | None


@dataclass(frozen=True, slots=True)
class RenditionReport:
    """One stream of a camera: what it does now. Counts are since the process started."""

    name: str
    "`main` or `sub`."
    state: RenditionState
    state_s: float
    "Seconds in this state."
    via: str | None
    "How it is carried, in words: `RTSP over TCP`."
    video: VideoReport | None
    audio: AudioReport | None
    access_units: int
    lost_packets: int
    "Gaps in RTP sequence numbers."
    reordered_packets: int
    damaged: int
    "Access units dropped because a part was missing or broken."
    malformed: int
    "Packets that could not be read."
    source_restarts: int
    "How often another RTP source or sequence followed within a connection."
    jitter_s: float | None
    "Interarrival jitter (RFC 3550 section 6.4.1)."
    clock_offset_s: float | None
    "Camera's clock less this machine's; None without sender reports."
    clock_drift_ppm: float | None
    "How much faster the camera's sampling clock runs than this machine's; None until it is known."
    clock_jumps: int
    first_frame_s: float | None
    "From the dial to the first keyframe, of the last connection that got so far."
    last_access_unit_age_s: float | None
    reconnects: int
    error: str | None
    "The last failure in words, without credentials; None while live."
    advice: tuple[str, ...]
    "What to set in the camera or the configuration, each a sentence."
    quirks: tuple[str, ...]
    "Names of the policies in force for this camera (ingest/rtsp/quirks.py)."


@dataclass(frozen=True, slots=True)
class CameraReport:
    """An ingest's heartbeat: what its camera does now, the main stream first."""

    TYPE: ClassVar[str] = "camera-report"
    camera: str
    renditions: tuple[RenditionReport, ...]


@dataclass(frozen=True, slots=True)
class CameraEvent:
    """A stream of a camera changed its state."""

    TYPE: ClassVar[str] = "camera-event"
    camera: str
    rendition: str
    at_ns: int
    "UTC nanoseconds."
    state: RenditionState
    reason: str | None
    "Why, without credentials."


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """A worker's heartbeat: its measured load. Counts are since the process started."""

    TYPE: ClassVar[str] = "worker-report"
    worker: str
    viewers: int
    cpu: float
    "CPU time over wall time of this process in the last second, 0 to 1 per core."
    loop_lag_s: float
    "Longest time that the event loop was late in the last second."
    packets_per_s: float
    egress: Literal["kernel", "python"]
    "Which form of the send path is in use."
    packets: int
    "RTP packets sent, retransmissions included."
    retransmitted: int
    "Packets sent again because a viewer missed them."
    dropped_frames: int
    "Frames not sent to slow viewers."
    switches: int
    "Changes of a viewer between main, sub and keyframes only."
    rejected: int
    "Datagrams on the media port that were not WebRTC, not authentic, or from nobody known."
    history_octets: int
    "Memory held for joins and retransmissions, all cameras."
    cameras: tuple[str, ...]
    "Those it subscribes to: another viewer of one of them costs it least."
    refused_sends: int
    "Datagrams that the kernel did not take."
    draining: bool
    "It takes no more viewers (`DrainRequest`)."


@dataclass(frozen=True, slots=True)
class RenditionFormat:
    """What is known of one rendition of a camera when a viewer asks for it."""

    name: Rendition
    video: VideoReport | None
    "None while it is not known yet: the camera was not connected in this run."
    audio: AudioReport | None
    "None: not known yet where `video` is None, else the camera sends no audio."


@dataclass(frozen=True, slots=True)
class OfferRequest:
    """Signaling asks a worker to serve a viewer."""

    TYPE: ClassVar[str] = "offer"
    session: str
    camera: str
    media_endpoint: str
    renditions: tuple[RenditionFormat, ...]
    "Those that the camera has, main first."
    sdp: str
    watcher: Watcher = ANYBODY
    quality: Quality = "auto"
    "What the session begins with; as in `SelectRequest`."


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
class SelectRequest:
    """What a viewer wants to be sent; answered by `Done`."""

    TYPE: ClassVar[str] = "select"
    session: str
    quality: Quality
    "`auto`: main as long as the link carries it. `keyframes`: the smallest picture, keyframes only."


@dataclass(frozen=True, slots=True)
class CloseRequest:
    """Signaling asks a worker to end a session."""

    TYPE: ClassVar[str] = "close"
    session: str


@dataclass(frozen=True, slots=True)
class Done:
    """Reply of a request that has nothing else to say."""

    TYPE: ClassVar[str] = "done"


RefusalKind = Literal[
    "bad-offer",
    "not-acceptable",
    "unknown-session",
    "overloaded",
    "internal",
    "bad-settings",
    "unknown",
    "exists",
    "changed-meanwhile",
    "read-only",
]


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


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """A worker tells signaling that a viewer is now given something else."""

    TYPE: ClassVar[str] = "session-changed"
    session: str
    showing: Literal["main", "sub", "keyframes"]
    reason: str
    "For people: `asked for`, `the link carries 300 kbit/s`."


@dataclass(frozen=True, slots=True)
class SessionsRequest:
    """Signaling asks a worker for the state of its sessions, or of one of them."""

    TYPE: ClassVar[str] = "sessions"
    session: str | None = None
    "None: all of them."


@dataclass(frozen=True, slots=True)
class SessionReport:
    """One viewer as its worker sees it. Counts are since the session began."""

    session: str
    camera: str
    state: str
    "`checking`, `connecting` or `connected`."
    path: str | None
    "How media goes: `udp 192.0.2.7:5000`; None before the first check."
    srtp: str | None
    quality: Quality
    "What the viewer wants."
    showing: Literal["main", "sub", "keyframes"]
    "What it is given."
    video_codec: str | None
    audio_codec: str | None
    packets: int
    octets: int
    retransmitted: int
    dropped_frames: int
    keyframe_requests: int
    loss: float
    "Share of packets lost on the way, of the last report, 0 to 1."
    rtt_s: float | None
    available_bitrate: int | None
    "Bits per second that the link was seen to carry; None while nothing is known."
    rendition: Rendition
    "The stream whose pictures it is given."
    last_access_unit_age_s: float | None
    "Since the bus last brought the worker a picture of that stream; None before the first."
    gaps: int
    "Pictures of that stream were missing so often, since the worker subscribed to it."
    keyframe_cached: bool
    "The worker has a keyframe of it with all that follows."


@dataclass(frozen=True, slots=True)
class SessionsReport:
    """Reply to `SessionsRequest`."""

    TYPE: ClassVar[str] = "sessions-report"
    sessions: tuple[SessionReport, ...]


@dataclass(frozen=True, slots=True)
class SettingsState:
    """The keeper introduces itself and says what is in force: at its start, when asked, at each change."""

    TYPE: ClassVar[str] = "settings-state"
    epoch: int
    "Of the keeper's process."
    revision: int
    "Counts the changes in this run of the keeper; `signaling.json` and `system.json` hold this one."
    cameras: tuple[str, ...]
    "In the order of the file."
    writable: bool
    "There is a file that edits can be written to."
    error: str | None
    "Why the file as it is now is not in force; None when it is."
    restart_needed: tuple[str, ...]
    "Keys that differ from what runs and take effect at the next start."


SettingsKind = Literal["camera", "user"]


@dataclass(frozen=True, slots=True)
class SettingsRequest:
    """Signaling asks the keeper for entries of the file; answered by `Settings`."""

    TYPE: ClassVar[str] = "settings"
    kind: SettingsKind
    name: str | None
    "None: all of them."


@dataclass(frozen=True, slots=True)
class SettingsEntry:
    """One camera or user as the file has it, without credentials."""

    name: str
    etag: str
    "Changes with the entry, also with what is not shown of it."
    content: str
    "A JSON object; user names and passwords in URLs are left out, a password hash is not shown."


@dataclass(frozen=True, slots=True)
class Settings:
    """Reply to `SettingsRequest`, and to an edit: what is in the file now."""

    TYPE: ClassVar[str] = "settings-entries"
    entries: tuple[SettingsEntry, ...]


@dataclass(frozen=True, slots=True)
class EditRequest:
    """Signaling asks the keeper to change the file; answered by `Settings` or `Refused`.

    Refused with `changed-meanwhile` when `etag` does not match, `exists` when `etag` is `new` and the entry
    is there, `unknown` for the removal of what is not there, `bad-settings` with key, value and what is
    allowed, `read-only` when there is no file that can be written, `internal` when it is written but could
    not be put in force yet.
    """

    TYPE: ClassVar[str] = "edit-settings"
    kind: SettingsKind
    name: str
    content: str | None
    "A JSON object as in the file; None removes the entry."
    etag: str | None
    "The entry must be this one; `new`: must not exist; None: whatever it is."
    by: str
    "Who wants it, for the log."


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """Signaling asks the keeper to put the file's cameras in order; answered by `SettingsState` or `Refused`.

    Refused with `changed-meanwhile` when `before` does not hold, `bad-settings` when `cameras` are not those
    of the file or a program cannot move their lines, `read-only` when the file cannot be written, `internal`
    when it is written but could not be put in force yet.
    """

    TYPE: ClassVar[str] = "order-settings"
    cameras: tuple[str, ...]
    "All of them, as they are to stand in the file."
    before: tuple[str, ...] | None
    "They must stand so; None: however they do."
    by: str
    "Who wants it, for the log."


@dataclass(frozen=True, slots=True)
class ReloadRequest:
    """Asks the keeper to read the file again now; answered by `SettingsState`."""

    TYPE: ClassVar[str] = "reload-settings"


@dataclass(frozen=True, slots=True)
class DrainRequest:
    """A worker is told that it gets no viewers any more (or does again); answered by `Done`."""

    TYPE: ClassVar[str] = "drain"
    draining: bool


Message = (
    IngestHello
    | FanoutHello
    | HelloWanted
    | CameraReport
    | CameraEvent
    | WorkerReport
    | OfferRequest
    | Answer
    | CandidateRequest
    | SelectRequest
    | SessionsRequest
    | SessionsReport
    | SessionChanged
    | CloseRequest
    | Done
    | Refused
    | SessionEnded
    | SettingsState
    | SettingsRequest
    | Settings
    | EditRequest
    | OrderRequest
    | ReloadRequest
    | DrainRequest
)
