"""The tracks of one session: what SETUP asks for each, what was agreed, whose an interleaved frame is."""

from ingest.rtsp.events import RtcpData, RtpData, SessionOptions, SetUp
from ingest.rtsp.messages import Headers, InterleavedFrames
from ingest.rtsp.quirks import Quirks
from ingest.rtsp.sdp import Track
from ingest.rtsp.transport import Interleaved, agreed, offer


class Setups:
    """Set `wanted`, send a SETUP for each `next`, give each good answer to `answered`."""

    def __init__(self, options: SessionOptions, quirks: Quirks) -> None:
        self.wanted: tuple[Track, ...] = ()
        self.done: list[Track] = []
        "The tracks that play; their indexes are the tracks of events."
        self._options = options
        self._quirks = quirks
        self._asked = 0
        self._owners: dict[int, tuple[type[RtpData] | type[RtcpData], int]] = {}
        self._rtcp_channels: dict[int, int] = {}

    def next(self) -> tuple[str, str] | None:
        """URL and Transport header of the next SETUP, None after the last track."""
        if self._asked == len(self.wanted):
            return None
        self._asked += 1
        transport = offer(self._options.transport, self._asked - 1, self._ports())
        return self.wanted[self._asked - 1].setup_url, transport

    def answered(self, headers: Headers) -> SetUp:
        """Takes the headers of a 200 to the last SETUP; raises TransportRefused."""
        index = len(self.done)
        track = self.wanted[self._asked - 1]
        transport = agreed(
            headers.get("Transport"),
            self._options.transport,
            self._asked - 1,
            self._ports(),
            track,
            self._owners,
            self._quirks,
        )
        self.done.append(track)
        if isinstance(transport, Interleaved):
            self._owners[transport.rtp_channel] = (RtpData, index)
            self._owners[transport.rtcp_channel] = (RtcpData, index)
            self._rtcp_channels[index] = transport.rtcp_channel
        return SetUp(index, track, transport)

    @property
    def channels(self) -> frozenset[int]:
        """The interleaved ones that were agreed on."""
        return frozenset(self._owners)

    def rtcp_channel(self, track: int) -> int | None:
        """Where RTCP of an interleaved track goes, None for any other."""
        return self._rtcp_channels.get(track)

    def media(self, frames: InterleavedFrames) -> RtpData | RtcpData | None:
        """The frames as the event of their track, None when they are nobody's."""
        owner = self._owners.get(frames.channel)
        return owner[0](owner[1], frames.payloads) if owner is not None else None

    def _ports(self) -> tuple[int, int] | None:
        ports = self._options.client_ports
        return ports[len(self.done)] if len(self.done) < len(ports) else None
