"""What cameras and servers do against RFC 2326, and what this client does about it: one named policy each.

Each has an exchange of its name in tests/testdata/rtsp. The names of those in force show in its report.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quirk:
    """One policy."""

    name: str
    camera: str
    "What the camera does."
    policy: str
    "What is done about it."
    seen: str
    "Cameras and servers that are known for it."
    source: str
    "Where that is written, or OWN_TEST."


class Quirks:
    """Those in force in one session, in the order of their first use."""

    def __init__(self) -> None:
        self._noted: dict[str, Quirk] = {}

    def note(self, quirk: Quirk) -> None:
        """The camera does it."""
        self._noted[quirk.name] = quirk

    @property
    def names(self) -> tuple[str, ...]:
        """For the camera's report."""
        return tuple(self._noted)


OWN_TEST = "our own test; no camera is known for it"

# Messages (parser.py).
HEADER_LINE_MALFORMED = Quirk(
    "header-line-malformed",
    "a line among the headers without a colon, or a bare date without `Date:`",
    "the line is passed over",
    "Keda SVAC cameras",
    "https://github.com/ireader/media-server/issues/341",
)
BARE_LINE_FEEDS = Quirk(
    "bare-line-feeds",
    "lines end with LF alone",
    "LF and CRLF are both line ends, also mixed",
    "YUAN encoders",
    "https://github.com/OvenMediaLabs/OvenMediaEngine/pull/1936",
)
BLANK_HEADER_LINE = Quirk(
    "blank-header-line",
    "a line of one space among the headers of the answer to PLAY",
    "it continues the header before it (RFC 2616 section 2.2), nothing more",
    "Luma x20 (Customer RTSP Server/1.0.0)",
    "https://github.com/koush/scrypted/pull/2137",
)
STATUS_LINE_UNSPACED = Quirk(
    "status-line-unspaced",
    "no space between status and reason, or no reason",
    "the status is the first three digits",
    "servers that end the line after the status",
    "https://github.com/bluenviron/gortsplib/issues/807",
)
HTTP_STATUS_LINE = Quirk(
    "http-status-line",
    "an answer starts with HTTP/1.0 or HTTP/1.1",
    "with a CSeq header it is read as RTSP; without one, the port belongs to a web server and that is said",
    "devices with one request parser for HTTP and RTSP",
    "https://github.com/turboladen/rtsp/issues/17",
)
LENGTH_TOO_LONG = Quirk(
    "length-too-long",
    "Content-Length of more octets than follow",
    "the body ends where the next message starts, or after 2 s of silence",
    "none by name",
    OWN_TEST,
)
JUNK_BETWEEN_MESSAGES = Quirk(
    "junk-between-messages",
    "octets between messages that belong to none",
    "they are passed over up to the next message or interleaved frame, and counted",
    "live555 before 2017.06.04, cutting frames short when the network is slow",
    "https://github.com/scottlamb/retina/issues/17",
)
STALE_FRAMES = Quirk(
    "stale-frames",
    "interleaved frames before the first answer: the media of an earlier connection",
    "they are thrown away",
    "live555 before 2017.06.04, e.g. in Reolink cameras",
    "https://github.com/scottlamb/retina/issues/17",
)
UNASKED_CHANNELS = Quirk(
    "unasked-channels",
    "frames on channels of tracks that nobody set up",
    "they are thrown away",
    "IPCAM C9F0SeZ3N0PbL0",
    "https://github.com/scottlamb/moonfire-nvr/issues/213",
)
CSEQ_MISSING = Quirk(
    "cseq-missing",
    "an answer without CSeq",
    "it answers the request that waits",
    "a redirecting video platform; Parrot Anafi for CSeq 0",
    "https://github.com/AlexxIT/go2rtc/issues/1881",
)
CSEQ_WRONG = Quirk(
    "cseq-wrong",
    "an answer with the CSeq of another request",
    "it answers the request that waits, unless it is the late answer to one that was given up",
    "HiSilicon Streaming Media Server in Foscam C1; TP-Link Tapo C220",
    "https://github.com/scottlamb/retina/issues/136",
)

# Description (sdp.py, control.py).
BARE_DESCRIPTION = Quirk(
    "bare-description",
    "a session description without `v=` or `o=`",
    "the media lines are enough",
    "Macro-Video cameras",
    "https://github.com/scottlamb/moonfire-nvr/issues/187",
)
PAYLOAD_TYPE_IN_WORDS = Quirk(
    "payload-type-in-words",
    "a media line whose payload type is no number",
    "that format is left out",
    "TP-LINK TL-IPC44AW",
    "https://github.com/scottlamb/moonfire-nvr/issues/238",
)
STATIC_TYPE_REMAPPED = Quirk(
    "static-type-remapped",
    "an rtpmap that gives a static payload type another meaning, e.g. 0 for AAC",
    "the rtpmap counts",
    "Anpviz (Anjvision) cameras",
    "https://github.com/scottlamb/retina/issues/26",
)
BASE_WITHOUT_SCHEME = Quirk(
    "base-without-scheme",
    "a Content-Base without rtsp://",
    "it is put in front",
    "Anjvision cameras",
    "https://github.com/scottlamb/moonfire-nvr/issues/356",
)
INSIDE_ADDRESS = Quirk(
    "inside-address",
    "Content-Base or control URLs name another host than the one that was dialled",
    "the dialled host and port are kept, path and query are the camera's",
    "cameras behind NAT, VLC, Axis 241Q",
    "https://github.com/mpromonet/webrtc-streamer/issues/215",
)

# SETUP (transport.py, session.py).
CHANNELS_LEFT_OUT = Quirk(
    "channels-left-out",
    "no `interleaved` in the Transport header, or no such header",
    "the channels are those asked for",
    "several; reported without a model",
    "https://github.com/bluenviron/gortsplib/issues/142",
)
OTHER_CHANNELS = Quirk(
    "other-channels",
    "other interleaved channels than asked for",
    "the camera's count (RFC 2326 section 12.39)",
    "Streaming Server/2.9.0.0",
    "https://github.com/bluenviron/gortsplib/issues/72",
)
SAME_CHANNELS = Quirk(
    "same-channels",
    "the channels of one track again for the next",
    "the channels asked for are listened to",
    "none by name",
    OWN_TEST,
)
NO_SERVER_PORT = Quirk(
    "no-server-port",
    "no `server_port` in the answer to a SETUP for UDP",
    "packets are taken from any port of the camera",
    "OpenIPC smolrtsp",
    "https://github.com/OpenIPC/smolrtsp/issues/31",
)
OTHER_TRANSPORT = Quirk(
    "other-transport",
    "agrees to another transport than asked for",
    "it is used where we can",
    "libstreaming: UDP whatever is asked",
    "https://github.com/fyhertz/libstreaming/issues/92",
)
AUDIO_REFUSED = Quirk(
    "audio-refused",
    "an error as answer to the SETUP of the audio that it describes",
    "the video is played alone",
    "HTMS cameras; pedroSG94 RTSP-Server",
    "https://github.com/AlexxIT/go2rtc/issues/2390",
)
SESSION_CHANGES = Quirk(
    "session-changes",
    "another Session in the answer to the second SETUP",
    "the first is kept",
    "H264DVR 1.0",
    "https://github.com/scottlamb/retina/pull/85",
)
SESSION_LEFT_OUT = Quirk(
    "session-left-out",
    "no Session in the answer to SETUP",
    "requests go without until an answer has one",
    "a camera that sends it later than SETUP",
    "https://github.com/bluenviron/mediamtx/issues/840",
)

# PLAY and after (session.py, keep_alive.py).
OPTIONS_REFUSED = Quirk(
    "options-refused",
    "an error as answer to OPTIONS",
    "DESCRIBE is asked all the same; OPTIONS keeps the session alive",
    "no-name cameras that answer 551",
    "https://github.com/bluenviron/mediamtx/issues/34",
)
PLAY_URL_REFUSED = Quirk(
    "play-url-refused",
    "an error as answer to PLAY for the aggregate control URL",
    "PLAY is asked once more for the URL without slash at its end",
    "PTZOptics cameras (405)",
    "https://github.com/alexeyvasilyev/rtsp-client-android/pull/9",
)
EARLY_MEDIA = Quirk(
    "early-media",
    "frames before the answer to PLAY",
    "they are kept and handed on after it",
    "v4l2rtspserver, Reolink",
    "https://github.com/scottlamb/retina/pull/46",
)
KEEP_ALIVE_REFUSED = Quirk(
    "keep-alive-refused",
    "an error as answer to GET_PARAMETER although it is offered",
    "OPTIONS is used from then on",
    "TP-Link Tapo C520WS (400); ffserver",
    "https://github.com/scottlamb/retina/issues/133",
)
KEEP_ALIVE_UNANSWERED = Quirk(
    "keep-alive-unanswered",
    "no answer to a keep-alive while the video goes on",
    "borne; OPTIONS is used from then on",
    "Hipcam RealServer/V1.0",
    "https://github.com/ngraziano/SharpRTSP/issues/63",
)

# Login (login.py, session.py).
NONCE_RENEWED = Quirk(
    "nonce-renewed",
    "401 with a new nonce, without stale=true, after the password was accepted",
    "the request is repeated once with the new nonce",
    "Axis M5525 after 150 s, Hikvision recorders after 30 s",
    "https://github.com/ngraziano/SharpRTSP/issues/126",
)
CLOSES_AFTER_401 = Quirk(
    "closes-after-401",
    "closes the connection right after its 401",
    "the next connection sends the login with its first request",
    "SharpRTSP's server",
    "https://github.com/ngraziano/SharpRTSP/issues/127",
)

ALL = tuple(value for value in list(globals().values()) if isinstance(value, Quirk))
