"""A WebRTC viewer for tests and load: real ICE (RFC 8445), DTLS-SRTP and RTCP, and cheap counting of RTP.

`offer()` makes the SDP, `connect(answer)` does connectivity checks and the handshake; how the two travel is
the caller's (tests.support.viewer_carriers). Without `decrypt`, only RTP headers are looked at and the kernel
hands over whole trains of packets (UDP_GRO, udp(7)), so that one process holds hundreds of viewers.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable

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
from tests.support.viewer_ice import IceAgent
from tests.support.viewer_rtp import Depacketizer, ReceivedUnit, Reception, Totals
from tests.support.viewer_socket import buffer, open_socket, read

_MAX_READS = 64

CHECK_INTERVAL_S = 0.1
CONSENT_INTERVAL_S = 5.0  # RFC 7675 section 5.1
REPORT_INTERVAL_S = 1.0


class ViewerClosed(Exception):
    """The viewer or its peer is gone."""


class Viewer:
    """One viewer on a socket of its own, bound to `host`.

    With `decrypt`, `packets` and `access_units` hold what came, in order; a broken SRTP tag or payload is
    kept in `faults`. `setup` is the DTLS role offered; the viewer is always the client.
    """

    def __init__(
        self,
        *,
        decrypt: bool = False,
        host: str = "127.0.0.1",
        setup: str = "actpass",
        profiles: str = viewer_dtls.BROWSER_PROFILES,
        require_server: bool = True,
    ) -> None:
        self.ssrc = secrets.randbits(31) + 1
        self.reception = Reception()
        self.answer: viewer_sdp.Answer | None = None
        self.srtp: viewer_dtls.Srtp | None = None
        self.packets: list[RtpPacket] = []
        self.access_units: list[ReceivedUnit] = []
        self.sender_reports: list[SenderReport] = []
        self.rtcp: list[RtcpPacket] = []
        self.faults: list[Exception] = []
        self.closed_by_peer = False
        self._decrypt = decrypt
        self._setup = setup
        self._profiles = profiles
        self._require_server = require_server
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._depacketizer = Depacketizer()
        self._dtls: viewer_dtls.DtlsClient | None = None
        self._ice = IceAgent()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._last_report = (0, 0.0)
        self._lost_reported = (0, 0)
        self._socket = open_socket(host)
        self._loop.add_reader(self._socket, self._readable)

    @property
    def address(self) -> tuple[str, int]:
        """The viewer's own UDP address."""
        host, port = self._socket.getsockname()
        return host, port

    @property
    def remote(self) -> tuple[str, int] | None:
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
            setup=self._setup,
            candidate=self.address if with_candidate else None,
        )

    async def connect(self, sdp: str, deadline_s: float = 10.0) -> None:
        """ICE and DTLS with the server of this answer.

        Raises AnswerError, DtlsError, and TimeoutError when nobody answers within `deadline_s`.
        """
        self.answer = answer = viewer_sdp.parse_answer(sdp)
        if self._require_server:
            answer.require_server()
        self._ice.set_remote(answer.ice_ufrag, answer.ice_pwd)
        async with asyncio.timeout(deadline_s):
            while self.remote is None:
                for candidate in answer.candidates:
                    if candidate.transport == "udp" and "." in candidate.host:
                        address = (candidate.host, candidate.port)
                        self._socket.sendto(self._ice.check(address), address)
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
                await self._changed.wait()

    def totals(self) -> Totals:
        """RTP counts so far."""
        return self.reception.totals()

    def send_pli(self) -> None:
        """Asks for a keyframe (RFC 4585 section 6.3.1)."""
        self.send_rtcp(KeyframeRequest(self.ssrc, self.reception.ssrc))

    def send_nack(self, *sequences: int) -> None:
        """Asks for packets again (RFC 4585 section 6.2.1)."""
        self.send_rtcp(Nack(self.ssrc, self.reception.ssrc, sequences))

    def send_rtcp(self, *packets: RtcpPacket) -> None:
        """Sends a compound packet after a receiver report, as RFC 3550 section 6.1 wants it."""
        if self.srtp is None:
            raise ViewerClosed("there are no SRTP keys yet")
        compound = (self._receiver_report(), SourceDescription(self.ssrc, "viewer"), *packets)
        self.send_raw(self.srtp.outbound.protect_rtcp(b"".join(map(serialize_rtcp, compound))))

    def send_raw(self, datagram: bytes) -> None:
        """Sends octets as they are to the server; a test's own mischief too."""
        if self.remote is None:
            raise ViewerClosed("no server address is known yet")
        # A refused port shows as an error of a later call; a full socket is loss, as on any network.
        with contextlib.suppress(OSError):
            self._socket.send(datagram)

    def vanish(self) -> None:
        """Stops without a word, as a viewer whose network is gone."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def close(self) -> None:
        """Says goodbye by DTLS close_notify and stops."""
        if self._dtls is not None and self._socket.fileno() >= 0:
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

    def _readable(self) -> None:
        take = self.reception.take
        counting = not self._decrypt
        try:
            for _ in range(_MAX_READS):
                length, size, received_ns, source = read(self._socket)
                if not length:
                    continue
                for at in range(0, length, size):
                    end = at + size if at + size < length else length
                    # RFC 7983 section 7; RFC 5761 section 4 for RTCP.
                    if counting and 127 < buffer[at] < 192 and not 191 < buffer[at + 1] < 224:
                        take(buffer, at, end, received_ns)
                    else:
                        self._datagram(bytes(buffer[at:end]), source, received_ns)
                if self._socket.fileno() < 0:
                    return
        except BlockingIOError:
            pass
        except ConnectionRefusedError as exc:
            self.faults.append(exc)
        self._changed.set()

    def _datagram(self, data: bytes, address: tuple[str, int], received_ns: int) -> None:
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
                    late = self.reception.late
                    self.reception.take(data, 0, len(data), received_ns)
                    if self.reception.late == late:
                        self._rtp(self.srtp.inbound.unprotect(data))
                    else:  # repeated or overtaken; `packets` shows it, the picture has gone on
                        with contextlib.suppress(pylibsrtp.Error):  # a replay, which browsers drop too
                            self.packets.append(parse_rtp(self.srtp.inbound.unprotect(data)))
        except Exception as exc:  # the socket's callback has no caller: `until` raises it
            self.faults.append(exc)

    def _stun(self, data: bytes, address: tuple[str, int]) -> None:
        selected = self._ice.selected
        response = self._ice.feed(data, address, self.address[1])
        if response:
            self._socket.sendto(response, address)
        if selected is None and self._ice.selected is not None:
            self._socket.connect(self._ice.selected)

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

    def _rtp(self, data: bytes) -> None:
        packet = parse_rtp(data)
        self.packets.append(packet)
        unit = self._depacketizer.feed(packet)
        if unit is not None:
            self.access_units.append(unit)

    def _rtcp(self, data: bytes) -> None:
        packets = parse_rtcp(data)
        for packet in packets:
            if isinstance(packet, SenderReport):
                self._last_report = (packet.ntp >> 16 & 0xFFFF_FFFF, self._loop.time())
                if self._decrypt:
                    self.sender_reports.append(packet)
        if self._decrypt:
            self.rtcp += packets

    def _report(self) -> None:
        if self.reception.packets:
            self.send_rtcp()

    def _receiver_report(self) -> ReceiverReport:
        if not self.reception.packets:
            return ReceiverReport(self.ssrc)
        totals = self.reception.totals()
        expected_before, lost_before = self._lost_reported
        expected, lost = totals.expected - expected_before, totals.lost - lost_before
        self._lost_reported = (totals.expected, totals.lost)
        last_sr, at = self._last_report
        block = ReportBlock(
            ssrc=self.reception.ssrc,
            fraction_lost=min(255, lost * 256 // expected) if expected > 0 and lost > 0 else 0,
            packets_lost=max(-0x80_0000, min(0x7F_FFFF, totals.lost)),
            highest_sequence=self.reception.highest & 0xFFFF_FFFF,
            jitter=0,
            last_sr=last_sr,
            delay_since_last_sr=int((self._loop.time() - at) * 65_536) if last_sr else 0,
        )
        return ReceiverReport(self.ssrc, (block,))
