"""A WebRTC viewer for tests and load: real ICE (RFC 8445), DTLS-SRTP and RTCP, and cheap counting of RTP.

`offer()` makes the SDP, `connect(answer)` does connectivity checks and the handshake; how the two travel is
the caller's (tests.support.viewer_carriers). Without `decrypt`, only RTP headers are looked at and the kernel
hands over whole trains of packets (UDP_GRO, udp(7)), so that one process holds hundreds of viewers.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterable

import pylibsrtp

from common.rtp import (
    KeyframeRequest,
    Nack,
    ReceiverReport,
    ReportBlock,
    RtcpPacket,
    RtpPacket,
    SenderReport,
    SourceDescription,
    parse_rtcp,
    parse_rtp,
    serialize_rtcp,
)
from tests.support import viewer_dtls, viewer_sdp
from tests.support.viewer_feedback import FEEDBACK_INTERVAL_S, MissingPackets, TransportReceiver
from tests.support.viewer_ice import IceAgent
from tests.support.viewer_rtp import HeaderExtensions, Reception, Totals, elements, read_extensions
from tests.support.viewer_socket import Address, Hub, TcpSocket, UdpSocket
from tests.support.viewer_units import Depacketizer, InOrder, ReceivedUnit

CHECK_INTERVAL_S = 0.1
CONSENT_INTERVAL_S = 5.0  # RFC 7675 section 5.1
REPORT_INTERVAL_S = 1.0
NACK_INTERVAL_S = 0.02  # Chromium's


class ViewerClosed(Exception):
    """The viewer or its peer is gone."""


class Viewer:
    """One viewer on a socket of its own, bound to `host` (IPv4 or IPv6); with `tcp` by ICE-TCP.

    With `decrypt`, `packets`, `audio_packets` and `access_units` hold what came, in order; a broken SRTP tag
    or payload is kept in `faults`. With `nacks` it asks for what it misses, as browsers do. `features` is
    what it offers (tests.support.viewer_sdp). With `feedback` it reports arrivals while transport-cc is
    negotiated. `setup` is the DTLS role offered; the viewer is always the client. `nat` says that the server
    sees another address than the viewer's own.
    """

    def __init__(
        self,
        *,
        decrypt: bool = False,
        host: str = "127.0.0.1",
        tcp: bool = False,
        features: frozenset[str] = viewer_sdp.CHROMIUM,
        nacks: bool = False,
        feedback: bool = True,
        nat: bool = False,
        setup: str = "actpass",
        profiles: str = viewer_dtls.BROWSER_PROFILES,
        require_server: bool = True,
    ) -> None:
        assert decrypt or not nacks, "what a retransmission repeats is known only when it is decrypted"
        self.ssrc = secrets.randbits(31) + 1
        self.reception = Reception()
        "Of the video."
        self.audio = Reception()
        self.rtx = Reception()
        self.transport = TransportReceiver()
        self.answer: viewer_sdp.Answer | None = None
        self.srtp: viewer_dtls.Srtp | None = None
        self.packets: list[RtpPacket] = []
        "Of the video, also those that came late or again."
        self.extensions: list[HeaderExtensions] = []
        "Of the same packets."
        self.repaired: list[RtpPacket] = []
        "What came in retransmissions, as it was sent the first time (RFC 4588 section 4)."
        self.audio_packets: list[RtpPacket] = []
        self.access_units: list[ReceivedUnit] = []
        self.skipped = 0
        "Times that a gap was given up."
        self.sender_reports: list[SenderReport] = []
        self.rtcp: list[RtcpPacket] = []
        self.faults: list[Exception] = []
        self.closed_by_peer = False
        self._decrypt = decrypt
        self._features = features
        self._feedback = feedback
        self._nat = nat
        self._setup = setup
        self._profiles = profiles
        self._require_server = require_server
        self._loop = asyncio.get_running_loop()
        self._hub = Hub.running()
        self._changed = asyncio.Event()
        self._waiting = 0
        self._depacketizer = Depacketizer()
        self._in_order = InOrder()
        self._missing = MissingPackets() if nacks else None
        self._receptions: dict[int, Reception] = {}
        self._transport_id = 0
        self._dtls: viewer_dtls.DtlsClient | None = None
        self._ice = IceAgent()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._last_reports: dict[int, tuple[int, float]] = {}
        self._lost_reported: dict[int, tuple[int, int]] = {}
        self._tcp = tcp
        carrier = TcpSocket if tcp else UdpSocket
        self._socket: TcpSocket | UdpSocket = carrier(host, self._on_train, self.faults.append)

    @property
    def address(self) -> Address:
        """The viewer's own address."""
        return self._socket.address

    @property
    def remote(self) -> Address | None:
        """The server's address, once a check was answered."""
        return self._ice.selected

    @property
    def consents(self) -> int:
        """Connectivity and consent checks that the server answered."""
        return self._ice.answered

    def offer(self, *, with_candidate: bool = True) -> str:
        """The SDP offer; browsers leave the candidate out and trickle it."""
        return viewer_sdp.offer(
            self._ice.ufrag,
            self._ice.pwd,
            viewer_dtls.fingerprint(),
            features=self._features,
            setup=self._setup,
            candidate=self.address if with_candidate else None,
            tcp=self._tcp,
        )

    async def connect(self, sdp: str, deadline_s: float = 10.0) -> None:
        """ICE and DTLS with the server of this answer.

        Raises AnswerError, DtlsError, OSError, and TimeoutError when nobody answers within `deadline_s`.
        """
        self.answer = answer = viewer_sdp.parse_answer(sdp)
        if self._require_server:
            answer.require_server()
        self._transport_id = answer.transport_sequence if self._feedback else 0
        self._ice.set_remote(answer.ice_ufrag, answer.ice_pwd)
        addresses = [
            (candidate.host, candidate.port)
            for candidate in answer.candidates
            if self._socket.reaches(candidate.transport, candidate.host)
        ]
        async with asyncio.timeout(deadline_s):
            while self.remote is None:
                for address in addresses:
                    await self._socket.open(address)
                    self._socket.send_to(self._ice.check(address), address)
                with contextlib.suppress(TimeoutError):
                    await self.until(lambda: self.remote is not None, CHECK_INTERVAL_S)
            self._dtls = viewer_dtls.DtlsClient(answer.fingerprints, self._profiles)
            self._dtls.start()
            self._flush_dtls()
            await self.until(lambda: self.srtp is not None, deadline_s)
        self._every("consent", CONSENT_INTERVAL_S, self._consent)
        self._every("report", REPORT_INTERVAL_S, self._report)

    async def until(self, condition: Callable[[], bool], deadline_s: float = 5.0) -> None:
        """Waits for a condition on this viewer; raises TimeoutError, or the fault met meanwhile."""
        known = len(self.faults)
        async with asyncio.timeout(deadline_s):
            while not condition():
                if len(self.faults) > known:
                    raise self.faults[-1]
                self._changed.clear()
                self._waiting += 1
                try:
                    await self._changed.wait()
                finally:
                    self._waiting -= 1

    def totals(self) -> Totals:
        """Counts of the video so far."""
        return self.reception.totals()

    def send_pli(self) -> None:
        """Asks for a keyframe (RFC 4585 section 6.3.1)."""
        self.send_rtcp(KeyframeRequest(self.ssrc, self.reception.ssrc))

    def send_nack(self, *sequences: int) -> None:
        """Asks for packets again (RFC 4585 section 6.2.1)."""
        self.send_rtcp(Nack(self.ssrc, self.reception.ssrc, sequences))

    def send_rtcp(self, *packets: RtcpPacket) -> None:
        """Sends a compound packet after a receiver report, as RFC 3550 section 6.1 wants it."""
        compound = (self._receiver_report(), SourceDescription(self.ssrc, "viewer"), *packets)
        self._send_plain_rtcp(b"".join(map(serialize_rtcp, compound)))

    def _send_plain_rtcp(self, data: bytes) -> None:
        if self.srtp is None:
            raise ViewerClosed("there are no SRTP keys yet")
        self.send_raw(self.srtp.outbound.protect_rtcp(data))

    def send_raw(self, datagram: bytes) -> None:
        """Sends octets as they are to the server; a test's own mischief too."""
        if self.remote is None:
            raise ViewerClosed("no server address is known yet")
        self._socket.send(datagram)

    def stall(self) -> None:
        """Reads nothing more but stays, as a browser whose process hangs: consent checks go on."""
        self._socket.stall()

    def resume(self) -> None:
        """Reads again after `stall`."""
        self._socket.resume()

    def vanish(self) -> None:
        """Stops without a word, as a viewer whose network is gone."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._socket.close()

    def close(self) -> None:
        """Says goodbye by DTLS close_notify and stops."""
        if self._dtls is not None and not self._socket.closed:
            self._dtls.close()
            self._flush_dtls()
        self.vanish()

    def _every(self, name: str, interval_s: float, action: Callable[[], None]) -> None:
        def fire() -> None:
            self._timers[name] = self._loop.call_later(interval_s, fire)
            action()

        # Spread over the interval, as independent browsers are.
        self._timers[name] = self._loop.call_later(interval_s * secrets.randbelow(1000) / 1000, fire)

    def _consent(self) -> None:
        assert self.remote is not None
        self.send_raw(self._ice.check(self.remote))

    def _on_train(self, data: bytearray, length: int, size: int, received_ns: int, source: Address) -> None:
        # RFC 7983 section 7; RFC 5761 section 4 for RTCP.
        if not self._decrypt and 127 < data[0] < 192 and not 191 < data[1] < 224 and self._receptions:
            self._count(data, length, size, received_ns)
        else:
            for at in range(0, length, size):
                self._datagram(bytes(data[at : min(at + size, length)]), source, received_ns)
                if self._socket.closed:
                    break
        if self._waiting:
            self._changed.set()

    def _count(self, data: bytearray, length: int, size: int, received_ns: int) -> None:
        reception = self._receptions.get(int.from_bytes(data[8:12], "big"))
        if size == length or reception is None or not reception.take_train(data, length, size, received_ns):
            for at in range(0, length, size):
                end = min(at + size, length)
                if 191 < data[at + 1] < 224 or not 127 < data[at] < 192:
                    self._datagram(bytes(data[at:end]), self.address, received_ns)
                    continue
                try:
                    self._reception(data, at).take(data, at, end, received_ns)
                    if self._transport_id:
                        self._transport_sequence(data, at, end, size, received_ns)
                except ValueError as exc:
                    self.faults.append(exc)
        elif self._transport_id:
            self._transport_sequence(data, 0, length, size, received_ns)

    def _reception(self, data: bytes | bytearray, at: int) -> Reception:
        """The reception of the packet's SSRC; raises ValueError for one that nobody announced."""
        ssrc = int.from_bytes(data[at + 8 : at + 12], "big")
        known = self._receptions.get(ssrc)
        if known is not None:
            return known
        assert self.answer is not None
        payload_type = data[at + 1] & 0x7F
        for media, reception, announced, payload_types in self._expected(self.answer):
            if payload_type in payload_types:
                if announced not in (None, ssrc):
                    raise ValueError(f"{media} of SSRC {ssrc}, the answer says {announced}")
                self._receptions[ssrc] = reception
                return reception
        raise ValueError(f"payload type {payload_type} is not in the answer")

    def _expected(
        self, answer: viewer_sdp.Answer
    ) -> Iterable[tuple[str, Reception, int | None, Iterable[int]]]:
        video, audio = answer.video, answer.audio
        yield "video", self.reception, video.ssrc, video.formats
        yield "rtx", self.rtx, video.rtx_ssrc, video.rtx
        if audio is not None:
            yield "audio", self.audio, audio.ssrc, audio.formats

    def _transport_sequence(
        self, data: bytes | bytearray, start: int, end: int, size: int, received_ns: int
    ) -> None:
        """Notes transport-wide sequence numbers of packets that have the same header extension."""
        at = start + 17
        # Mostly it is the first element, and looking there is all that a viewer of many can afford.
        if not data[start] & 0x10 or data[start + 16] != self._transport_id << 4 | 1:
            place = elements(data, start).get(self._transport_id)
            if place is None:
                return
            at = place[0]
        count = -(-(end - start) // size)
        if count > 1 and data[at] != data[at + (count - 1) * size]:
            for each in range(at, end, size):  # the upper octet changes on the way
                self._note(data[each] << 8 | data[each + 1], 1, received_ns)
        else:
            self._note(data[at] << 8 | data[at + 1], count, received_ns)

    def _note(self, sequence: int, count: int, received_ns: int) -> None:
        if self.transport.take(sequence, count, received_ns):
            self._hub.later(FEEDBACK_INTERVAL_S, self._send_feedback)

    def _send_feedback(self) -> None:
        if not self._socket.closed:
            # Reduced size (RFC 5506), as browsers send it.
            self._send_plain_rtcp(self.transport.feedback(self.ssrc, self.reception.ssrc))

    def _datagram(self, data: bytes, address: Address, received_ns: int) -> None:
        try:
            if data[0] < 4:
                self._stun(data, address)
            elif 19 < data[0] < 64 and self._dtls is not None:
                self._dtls.feed(data)
                self.srtp = self._dtls.srtp
                self.closed_by_peer = self._dtls.closed_by_peer
                self._flush_dtls()
            elif 127 < data[0] < 192 and self.srtp is not None:
                if 191 < data[1] < 224:
                    self._rtcp(self.srtp.inbound.unprotect_rtcp(data))
                else:
                    self._media(data, received_ns)
        except Exception as exc:  # the socket's callback has no caller: `until` raises it
            self.faults.append(exc)

    def _media(self, data: bytes, received_ns: int) -> None:
        assert self.srtp is not None
        reception = self._reception(data, 0)
        late = reception.late
        reception.take(data, 0, len(data), received_ns)
        if self._transport_id:
            self._transport_sequence(data, 0, len(data), len(data), received_ns)
        if not self._decrypt:
            return
        try:
            plain = self.srtp.inbound.unprotect(data)
        except pylibsrtp.Error:
            if reception.late == late:
                raise
            return  # a replay, which browsers drop too
        packet = parse_rtp(plain)
        if reception is self.audio:
            self.audio_packets.append(packet)
        elif reception is self.rtx:
            self._retransmission(packet)
        else:
            self.packets.append(packet)
            self.extensions.append(self._extensions(plain))
            self._video(packet, late=reception.late != late)

    def _extensions(self, plain: bytes) -> HeaderExtensions:
        assert self.answer is not None
        ids = self.answer.video.extensions
        return read_extensions(
            plain,
            *(
                ids.get(uri, 0)
                for uri in (viewer_sdp.TRANSPORT_SEQUENCE, viewer_sdp.CAPTURE_TIME, viewer_sdp.PLAYOUT_DELAY)
            ),
        )

    def _retransmission(self, packet: RtpPacket) -> None:
        assert self.answer is not None
        if len(packet.payload) <= 2:  # padding, or a probe of what the link carries
            return
        original = RtpPacket(
            payload_type=self.answer.video.rtx[packet.payload_type],
            marker=packet.marker,
            sequence=int.from_bytes(packet.payload[:2], "big"),
            timestamp=packet.timestamp,
            ssrc=self.reception.ssrc,
            payload=packet.payload[2:],
        )
        self.repaired.append(original)
        self._video(original, late=True)

    def _video(self, packet: RtpPacket, *, late: bool) -> None:
        if self._missing is None:
            if not late:  # repeated or overtaken; `packets` shows it, the picture has gone on
                self._feed(packet)
            return
        sequence = self.reception.extended(packet.sequence)
        self._missing.take(sequence)
        for ready in self._in_order.push(sequence, packet):
            self._feed(ready)
        self._ask()

    def _ask(self) -> None:
        """NACKs what is missing and due, and looks again soon while something is."""
        assert self._missing is not None
        had = bool(self._missing)
        due = self._missing.due(self._loop.time())
        if due:
            self.send_nack(*(sequence & 0xFFFF for sequence in due))
        if self._missing.gave_up or (had and not self._missing):
            self._missing.gave_up = False
            self.skipped += 1
            self._depacketizer = Depacketizer()
            for packet in self._in_order.skip():
                self._feed(packet)
            self.send_pli()
        if self._missing and "nack" not in self._timers:
            self._timers["nack"] = self._loop.call_later(NACK_INTERVAL_S, self._ask_again)

    def _ask_again(self) -> None:
        del self._timers["nack"]
        self._ask()

    def _feed(self, packet: RtpPacket) -> None:
        assert self.answer is not None
        unit = self._depacketizer.feed(packet, self.answer.video.formats[packet.payload_type])
        if unit is not None:
            self.access_units.append(unit)

    def _stun(self, data: bytes, address: Address) -> None:
        selected = self._ice.selected
        response = self._ice.feed(data, address, None if self._nat else self.address[1])
        if response:
            self._socket.send_to(response, address)
        if selected is None and self._ice.selected is not None:
            self._socket.select(self._ice.selected)

    def _flush_dtls(self) -> None:
        assert self._dtls is not None
        data = self._dtls.data_to_send()
        if data:
            self.send_raw(data)
        timer = self._timers.pop("dtls", None)
        if timer is not None:
            timer.cancel()
        timeout = self._dtls.timeout()
        if self.srtp is None and timeout is not None:
            self._timers["dtls"] = self._loop.call_later(timeout, self._retransmit)

    def _retransmit(self) -> None:
        assert self._dtls is not None
        self._dtls.retransmit()
        self._flush_dtls()

    def _rtcp(self, data: bytes) -> None:
        packets = parse_rtcp(data)
        for packet in packets:
            if isinstance(packet, SenderReport):
                self._last_reports[packet.ssrc] = (packet.ntp >> 16 & 0xFFFF_FFFF, self._loop.time())
                if self._decrypt:
                    self.sender_reports.append(packet)
        if self._decrypt:
            self.rtcp += packets

    def _report(self) -> None:
        if self._receptions:
            self.send_rtcp()

    def _receiver_report(self) -> ReceiverReport:
        blocks = (self._report_block(reception) for reception in self._receptions.values())
        return ReceiverReport(self.ssrc, tuple(blocks))

    def _report_block(self, reception: Reception) -> ReportBlock:
        totals = reception.totals()
        expected_before, lost_before = self._lost_reported.get(reception.ssrc, (0, 0))
        expected, lost = totals.expected - expected_before, totals.lost - lost_before
        self._lost_reported[reception.ssrc] = (totals.expected, totals.lost)
        last_sr, at = self._last_reports.get(reception.ssrc, (0, 0.0))
        return ReportBlock(
            ssrc=reception.ssrc,
            fraction_lost=min(255, lost * 256 // expected) if expected > 0 and lost > 0 else 0,
            packets_lost=max(-0x80_0000, min(0x7F_FFFF, totals.lost)),
            highest_sequence=reception.highest & 0xFFFF_FFFF,
            jitter=0,
            last_sr=last_sr,
            delay_since_last_sr=int((self._loop.time() - at) * 65_536) if last_sr else 0,
        )
