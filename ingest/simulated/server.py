"""The simulated camera on the network: several RTSP clients, one encoder that runs while one plays."""

import asyncio
import logging
import secrets

from common.clock import Clock
from common.errors import LocalError
from common.h264 import NAL_IDR, nal_type
from common.rtp import SenderReport, SourceDescription, serialize_rtcp
from common.units import VIDEO_CLOCK_RATE, unix_ns_to_ntp
from ingest.simulated.packets import RtpStream
from ingest.simulated.picture import FPS, Picture, stream_parameter_sets
from ingest.simulated.replies import Conversation, Ended, Playing, RequestError, describe

log = logging.getLogger(__name__)

PATH = "/simulated"
MAX_CLIENTS = 100
MAX_UNSENT_BYTES = 1 << 20  # some 4 s of video
REPORT_INTERVAL_S = 5.0  # RFC 3550 section 6.2
READ_BYTES = 4096
TICKS_PER_FRAME = VIDEO_CLOCK_RATE // FPS


class _Client:
    """One connection; a client that does not read loses whole pictures up to a keyframe."""

    def __init__(self, writer: asyncio.StreamWriter, conversation: Conversation) -> None:
        self._writer = writer
        self.conversation = conversation
        self._needs_keyframe = True
        self.dropped = 0

    def send_picture(self, packets: list[bytes], keyframe: bool) -> None:
        state = self.conversation.state
        if not isinstance(state, Playing):
            return
        if self._writer.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self._needs_keyframe = True
        elif keyframe:
            self._needs_keyframe = False
        if self._needs_keyframe:
            self.dropped += 1
        else:
            self._writer.write(b"".join(_framed(state.rtp_channel, packet) for packet in packets))

    def send_report(self, report: bytes) -> None:
        state = self.conversation.state
        if isinstance(state, Playing) and not self._needs_keyframe:
            self._writer.write(_framed(state.rtcp_channel, report))


def _framed(channel: int, packet: bytes) -> bytes:
    """An interleaved frame (RFC 2326 section 10.12)."""
    return b"$" + channel.to_bytes(1, "big") + len(packet).to_bytes(2, "big") + packet


class SimulatedCamera:
    """Serves `rtsp://HOST:PORT/simulated` until cancelled."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._clients: set[_Client] = set()
        self._audience = asyncio.Event()
        self._keyframe_wanted = False
        self._sdp = describe(PATH, stream_parameter_sets(), FPS)

    async def run(self, host: str, port: int) -> None:
        """Listens and encodes; raises LocalError when the port cannot be had."""
        try:
            server = await asyncio.start_server(self._connected, host, port, limit=READ_BYTES)
        except OSError as exc:
            raise LocalError(f"simulated camera cannot listen on {host}:{port}: {exc.strerror}") from exc
        bound = server.sockets[0].getsockname()[1]
        log.info("= simulated camera at rtsp://%s:%d%s", host, bound, PATH)
        async with server:
            await self._film()

    def _playing(self) -> bool:
        return any(isinstance(client.conversation.state, Playing) for client in self._clients)

    async def _film(self) -> None:
        start_s = self._clock.monotonic_s()
        stream = RtpStream(secrets.randbits(32), secrets.randbits(16))
        first_timestamp = secrets.randbits(32)
        number = 0
        while True:
            await self._audience.wait()
            log.info("= encoding, somebody plays")
            picture = Picture()
            next_report_s = 0.0
            while self._playing():
                now_s = self._clock.monotonic_s()
                # A machine that is too slow skips numbers, so that the picture stays live.
                number = max(number + 1, int((now_s - start_s) * FPS))
                timestamp = (first_timestamp + number * TICKS_PER_FRAME) & 0xFFFF_FFFF
                utc_ns = self._clock.utc_ns()
                keyframe_wanted, self._keyframe_wanted = self._keyframe_wanted, False
                nals = picture.next(utc_ns, number, keyframe_wanted)
                packets = stream.packets(nals, timestamp)
                keyframe = any(nal_type(nal) == NAL_IDR for nal in nals)
                for client in self._clients:
                    client.send_picture(packets, keyframe)
                if now_s >= next_report_s:
                    next_report_s = now_s + REPORT_INTERVAL_S
                    self._report(stream, utc_ns, timestamp)
                await self._clock.sleep(max(0.0, start_s + (number + 1) / FPS - self._clock.monotonic_s()))
            self._audience.clear()
            log.info("= idle, nobody plays")

    def _report(self, stream: RtpStream, utc_ns: int, timestamp: int) -> None:
        report = SenderReport(
            ssrc=stream.ssrc,
            ntp=unix_ns_to_ntp(utc_ns),
            rtp_timestamp=timestamp,
            packet_count=stream.packet_count,
            octet_count=stream.octet_count,
        )
        compound = serialize_rtcp(report) + serialize_rtcp(SourceDescription(stream.ssrc, "simulated"))
        for client in self._clients:
            client.send_report(compound)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = Conversation(PATH, self._sdp, secrets.token_hex(8))
        client = _Client(writer, conversation)
        if len(self._clients) >= MAX_CLIENTS:
            log.warning("! more than %d clients, connection refused", MAX_CLIENTS)
            writer.close()
            return
        self._clients.add(client)
        try:
            while not isinstance(conversation.state, Ended) and (data := await reader.read(READ_BYTES)):
                before = conversation.state
                writer.write(conversation.feed(data))
                if isinstance(conversation.state, Playing) and not isinstance(before, Playing):
                    self._keyframe_wanted = True
                    self._audience.set()
                await writer.drain()
        except RequestError as exc:
            log.warning("! client: %s; connection closed", exc)
        except OSError as exc:
            log.info("= client gone: %s", exc.strerror or type(exc).__name__)
        finally:
            self._clients.discard(client)
            if client.dropped:
                log.info("= client left, %d pictures were not sent to it", client.dropped)
            writer.close()
