"""A camera by RTSP: which transports are tried, where redirects lead, what is remembered for next time."""

import logging
import ssl
from dataclasses import dataclass, replace

from common.clock import Clock
from common.errors import CameraRefusal, ConfigError, LocalError
from common.urls import CameraUrl, parse_camera_url
from ingest.dial import connect, tls_context
from ingest.rtsp.auth import Challenge
from ingest.rtsp.messages import LoginInterrupted, Redirected, RtspError, TransportRefused, shown
from ingest.rtsp_play import RtspPlay, RtspTransport, Silent
from ingest.source import Sink

log = logging.getLogger(__name__)

MAX_REDIRECTS = 5
# RTP in clear beside an encrypted connection is not what rtsps:// promises.
ENCRYPTED_TRANSPORTS = ("tcp", "http")


@dataclass(frozen=True, slots=True)
class RtspOptions:
    """How a camera may be played."""

    transports: tuple[RtspTransport, ...] = ("tcp", "udp")
    "Tried in this order."
    verify_tls: bool = True
    audio: bool = True


class RtspSource:
    """Plays one camera, again and again.

    It remembers which transport brought packets, to begin with it, and what login the camera asked for, to
    send it at once.
    """

    def __init__(self, url: CameraUrl, options: RtspOptions, clock: Clock) -> None:
        self._url = url
        self._options = options
        self._clock = clock
        self._worked: RtspTransport | None = None
        self._heard = False
        self._challenges: dict[tuple[str, int], Challenge] = {}
        self._tls: ssl.SSLContext | None = None

    async def play(self, sink: Sink) -> None:
        """One attempt over all transports; plays until it fails or is cancelled.

        Raises CameraRefusal when trying again soon cannot help, LocalError when this machine lacks ports or
        multicast, else CameraError.
        """
        url, seen = self._url, {self._url.public}
        transports = self._order(url)
        login_interrupted = False
        while True:
            try:
                await self._play_over(transports[0], url, sink)
            except LoginInterrupted:
                if login_interrupted:
                    raise
                login_interrupted = True
            except Redirected as exc:
                if self._heard:
                    seen = {url.public}
                url = self._redirected(url, exc.location)
                if url.public in seen or len(seen) > MAX_REDIRECTS:
                    raise CameraRefusal(
                        f"camera redirects in a circle, or more than {MAX_REDIRECTS} times; check its URL"
                    ) from None
                seen.add(url.public)
                transports, login_interrupted = self._order(url), False
            except (TransportRefused, Silent, LocalError) as exc:
                if self._heard or len(transports) == 1:
                    raise
                transports = transports[1:]
                log.warning("! camera at %s: %s; now by %s", url.host, exc, transports[0])

    async def _play_over(self, transport: RtspTransport, url: CameraUrl, sink: Sink) -> None:
        """One connection; always raises."""
        self._heard = False
        tls = None
        if url.scheme == "rtsps":
            tls = self._tls = self._tls or tls_context(self._options.verify_tls)
        place = (url.host, url.port)
        connection = await connect(url, self._clock, tls, over_http=transport == "http")
        try:
            challenge = self._challenges.get(place)
            play = RtspPlay(connection, url, transport, self._options.audio, challenge, sink, self._clock)
        except LocalError as exc:
            connection.end(exc)
            raise
        try:
            await play.run()
        finally:
            if play.heard:
                self._heard = True
                self._worked = transport
            self._remember(place, play.challenge)

    def _remember(self, place: tuple[str, int], challenge: Challenge | None) -> None:
        self._challenges.pop(place, None)
        if challenge is not None:
            # Redirects may lead to ever new places.
            if len(self._challenges) > MAX_REDIRECTS:
                self._challenges.clear()
            self._challenges[place] = challenge

    def _order(self, url: CameraUrl) -> tuple[RtspTransport, ...]:
        """The transports, beginning with what worked the last time."""
        transports = self._options.transports
        if url.scheme == "rtsps":
            transports = tuple(item for item in transports if item in ENCRYPTED_TRANSPORTS)
            if not transports:
                raise CameraRefusal("RTSPS goes over tcp or http only; allow one of them for this camera")
        return tuple(sorted(transports, key=lambda item: item != self._worked))

    def _redirected(self, url: CameraUrl, location: str) -> CameraUrl:
        """Where the camera sends us. The login goes along only to its own host, and not out of TLS."""
        if location.startswith("/"):
            host = f"[{url.host}]" if ":" in url.host else url.host
            location = f"{url.scheme}://{host}:{url.port}{location}"
        try:
            target = parse_camera_url(location)
        except ConfigError as exc:
            raise RtspError(f"camera redirects to {shown(location)!r}: {exc}") from None
        own = self._url
        if target.scheme not in ("rtsp", "rtsps"):
            raise CameraRefusal(f"camera redirects to {shown(location)!r}, which is no RTSP")
        encrypted = target.scheme == "rtsps" or own.scheme == "rtsp"
        if target.username is None and target.host == own.host and encrypted:
            return replace(target, username=own.username, password=own.password)
        return target
