"""One connection that plays: its session, its tracks, and the sockets of those that come by UDP."""

import asyncio
import logging
import os
from typing import Literal

from common.clock import Clock
from common.errors import CameraError
from common.urls import CameraUrl
from ingest.connection import CameraConnection
from ingest.log_pause import LogPause
from ingest.reorder import ReorderBuffer
from ingest.rtp_track import RtpTrack
from ingest.rtsp.auth import Challenge
from ingest.rtsp.events import MAX_TRACKS, Event, Playing, RtcpData, RtpData, SessionOptions, SetUp
from ingest.rtsp.sdp import Track
from ingest.rtsp.session import RtspSession
from ingest.rtsp.transport import Interleaved, Multicast, Transport, Unicast
from ingest.source import Sink
from ingest.udp import PortPair, UdpReceiver, bind_pairs, join_group

log = logging.getLogger(__name__)

RtspTransport = Literal["tcp", "udp", "multicast", "http"]

TICK_S = 1.0
TICKS_PER_KEEP_ALIVE = 2
# Until it plays, as the camera may then want its first keep-alive within half a second.
SETTING_UP_TICK_S = 0.25
REPORT_EVERY_S = 5.0  # RFC 3550 section 6.2
# Home routers forget a UDP flow after 30 s.
PUNCH_EVERY_S = 10.0
# PLAY was answered and nothing comes by UDP: a firewall or NAT is in the way.
SILENT_AFTER_S = 3.0


class Silent(CameraError):
    """A camera says that it plays, but no packet arrives over UDP."""

    lasting = True


class RtspPlay:
    """`run` it once over an open connection. Implements Remarks."""

    def __init__(
        self,
        connection: CameraConnection,
        url: CameraUrl,
        transport: RtspTransport,
        audio: bool,
        challenge: Challenge | None,
        sink: Sink,
        clock: Clock,
    ) -> None:
        """Raises LocalError when there are no ports for UDP."""
        self.heard = False
        "A packet of RTP came."
        self.played_s = 0.0
        "How long it played until it ended; 0 when nothing came."
        self._connection = connection
        self._url = url
        self._over = "over HTTP" if transport == "http" else "over TCP"
        self._sink = sink
        self._clock = clock
        self._cname = f"cctv3-{os.urandom(8).hex()}"
        self._pairs: list[PortPair] = []
        if transport == "udp":
            self._pairs = bind_pairs(connection.local_address, MAX_TRACKS)
        self._session = RtspSession(
            url,
            os.urandom(16),
            SessionOptions(
                transport="tcp" if transport == "http" else transport,
                audio=audio,
                client_ports=tuple(pair.ports for pair in self._pairs),
                challenge=challenge,
            ),
        )
        self._receivers: dict[int, UdpReceiver] = {}
        self._tracks: dict[int, RtpTrack] = {}
        self._playing_at: float | None = None
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._told = False
        self._told_notes: set[str] = set()
        self._faults: dict[str, int] = {}
        self._pause = LogPause()
        self._report_at = self._punch_at = self._tell_at = 0.0

    @property
    def challenge(self) -> Challenge | None:
        """What login the camera asks for."""
        return self._session.challenge

    @property
    def quirks(self) -> tuple[str, ...]:
        """Names of the policies in force."""
        return self._session.quirks

    @property
    def notes(self) -> tuple[str, ...]:
        """Of the session, and of sound that ended while it plays."""
        return (*self._session.notes, *(track.note for track in self._tracks.values() if track.note))

    @property
    def _tick_s(self) -> float:
        if self._playing_at is None:
            return SETTING_UP_TICK_S
        return min(TICK_S, self._session.keep_alive_s / TICKS_PER_KEEP_ALIVE)

    async def run(self) -> None:
        """Plays until it fails or is cancelled, and says TEARDOWN in the end; always raises.

        CameraError and its kinds; what the sink raised.
        """
        try:
            self._connection.start(self._session, self._on_event)
            ends = {self._connection.ended, self._failure}
            while True:
                done, _ = await asyncio.wait(ends, timeout=self._tick_s, return_when=asyncio.FIRST_COMPLETED)
                if done:
                    # Some cameras close right behind what they do wrong.
                    (self._failure if self._failure.done() else self._connection.ended).result()
                    raise CameraError("camera closed the connection")
                self._tick(self._clock.monotonic_s())
        finally:
            if self.heard and self._playing_at is not None:
                self.played_s = self._clock.monotonic_s() - self._playing_at
            # Nothing more to the sink while TEARDOWN is waited for.
            self._playing_at = None
            for receiver in self._receivers.values():
                receiver.stop()
            for pair in self._pairs:
                pair.close()
            await self._connection.close()

    def _on_event(self, event: Event) -> None:
        if self._failure.done():
            return
        try:
            self._take(event)
        except Exception as exc:
            self._fail(exc)

    def _take(self, event: Event) -> None:
        match event:
            case RtpData(index, packets) if self._playing_at is not None:
                self.heard = True
                self._tracks[index].rtp(packets, self._clock.monotonic_s(), self._clock.utc_ns())
            case RtcpData(index, packets) if self._playing_at is not None:
                self._tracks[index].rtcp(packets, self._clock.monotonic_s(), self._clock.utc_ns())
            case SetUp(index, description, transport):
                self._set_up(index, description, transport)
            case Playing():
                self._playing_at = self._clock.monotonic_s()
                if not self._receivers:
                    self._tell_sink()
                for receiver in self._receivers.values():
                    receiver.start()

    def _set_up(self, index: int, description: Track, transport: Transport) -> None:
        """Makes the track, and readies its sockets when it comes by UDP."""
        by_udp = not isinstance(transport, Interleaved)
        self._tracks[index] = RtpTrack(
            description,
            index,
            self._sink,
            own_ssrc=int.from_bytes(os.urandom(4), "big"),
            cname=self._cname,
            reorder=ReorderBuffer(description.payload_type) if by_udp else None,
        )
        camera, _, *scope = self._connection.peer_address
        match transport:
            case Interleaved():
                return
            case Unicast():
                pair, other = self._pairs[index], transport.server
                sent_to, unheard = {camera, other or camera}, {other or camera} - {camera}
                ports = (transport.server_rtp_port, transport.server_rtcp_port)
                self._over = "over UDP"
            case Multicast():
                pair, other = join_group(transport, self._connection.local_address), transport.source
                self._pairs.append(pair)
                sent_to, unheard = {transport.group}, set()
                ports = (None, transport.rtcp_port)
                self._over = "multicast"
        receiver = self._receivers[index] = UdpReceiver(
            pair,
            self._tracks[index],
            self._clock,
            frozenset({camera, other or camera}),
            [(host, ports[0], *scope) for host in sent_to if ports[0]],
            [(host, ports[1], *scope) for host in sent_to if ports[1]],
            unheard,
            self._first_by_udp,
            self._fail,
        )
        receiver.punch()
        receiver.send_rtcp(self._tracks[index].receiver_report(self._clock.monotonic_s()))

    def _fail(self, error: Exception) -> None:
        """What comes is of no use; the session is still to be ended in order."""
        if not self._failure.done():
            self._failure.set_exception(error)
            # It is said by `run`, or the connection ended at the same moment and that is said.
            self._failure.exception()

    def _first_by_udp(self, rtp: bool) -> None:
        """The first packet of RTP, or of RTCP, of a track: the camera is really there."""
        self.heard = self.heard or rtp
        self._tell_sink()

    def _tell_sink(self) -> None:
        if self._told:
            return
        self._told = True
        scheme = "RTSPS" if self._url.scheme == "rtsps" else "RTSP"
        tracks = tuple(self._tracks[index] for index in sorted(self._tracks))
        self._sink.playing(tracks, f"{scheme} {self._over}", self)
        self._tell_notes()

    def _tell_notes(self) -> None:
        """Says each once."""
        for note in self.notes:
            if note not in self._told_notes:
                self._told_notes.add(note)
                log.warning("! camera at %s: %s", self._url.host, note)

    def _tick(self, now: float) -> None:
        self._connection.tick()
        if self._playing_at is None:
            return
        if self._receivers and not self.heard and now - self._playing_at >= SILENT_AFTER_S:
            raise Silent(
                f"camera plays {self._over}, but nothing came within {SILENT_AFTER_S:g} s; "
                "a firewall or NAT may be in the way, use TCP"
            )
        if now >= self._report_at:
            self._report_at = now + REPORT_EVERY_S
            for index, track in self._tracks.items():
                self._send_rtcp(index, track.receiver_report(now))
        if now >= self._punch_at:
            self._punch_at = now + PUNCH_EVERY_S
            for receiver in self._receivers.values():
                receiver.punch()
        if now >= self._tell_at:
            self._tell_at = now + TICK_S
            self._tell_notes()
            self._tell_faults(now)

    def _send_rtcp(self, index: int, packet: bytes) -> None:
        if receiver := self._receivers.get(index):
            receiver.send_rtcp(packet)
        else:
            self._connection.send_rtcp(index, packet)

    def _tell_faults(self, now: float) -> None:
        """Says what was wrong since the last time in one line, never per packet."""
        tracks, receivers = self._tracks.values(), self._receivers.values()
        found = {
            "packets lost": sum(track.lost for track in tracks),
            "late or twice": sum(track.dropped for track in tracks),
            "malformed": sum(track.malformed for track in tracks),
            "without room in the receive buffer": sum(receiver.kernel_drops for receiver in receivers),
            "from elsewhere": sum(receiver.foreign for receiver in receivers),
            "frames damaged": sum(track.damaged for track in tracks),
            "octets of garbage": self._session.garbage_bytes,
        }
        new = [
            f"{count - self._faults.get(name, 0)} {name}"
            for name, count in found.items()
            if count != self._faults.get(name, 0)
        ]
        if new and self._pause.is_over(now):
            self._faults = found
            log.warning("! camera at %s: %s", self._url.host, ", ".join(new))
