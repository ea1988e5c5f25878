"""A camera by RTSP: which transports are tried, where redirects lead, what is remembered for next time."""

import logging
import ssl
from dataclasses import dataclass, replace

from common.clock import Clock
from common.errors import CameraError, CameraRefusal, ConfigError, LocalError
from common.urls import CameraUrl, parse_camera_url
from ingest.dial import Unreachable, connect, port_of, tls_context
from ingest.rtsp.auth import Challenge
from ingest.rtsp.messages import LoginInterrupted, Redirected, RtspError, TransportRefused
from ingest.rtsp_play import RtspPlay, RtspTransport, Silent
from ingest.source import Sink

log = logging.getLogger(__name__)

MAX_REDIRECTS = 5
# Redirects before and after so long a play have nothing to do with each other.
STABLE_AFTER_S = 10.0
# A camera may word its refusals ever anew.
MAX_REMEMBERED_WARNINGS = 8
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

    It remembers which transport brought packets, to begin with it, where those before it were refused for
    good or stayed silent; and what login the camera asked for, to send it at once.
    """

    def __init__(self, url: CameraUrl, options: RtspOptions, clock: Clock) -> None:
        self._url = url
        self._options = options
        self._clock = clock
        self._worked: RtspTransport | None = None
        self._heard = False
        self._played_s = 0.0
        self._told: set[str] = set()
        self._challenges: dict[tuple[str, int], Challenge] = {}
        self._tls: ssl.SSLContext | None = None

    async def play(self, sink: Sink) -> None:
        """One attempt over all transports; plays until it fails or is cancelled.

        Raises CameraRefusal when trying again soon cannot help, LocalError when this machine lacks ports or
        multicast, else CameraError.
        """
        url, seen = self._url, {self._url.public}
        transports = self._order(url)
        login_interrupted, refused_for_good = False, True
        unreachable: Unreachable | None = None
        while True:
            try:
                await self._play_over(transports[0], url, sink, refused_for_good)
            except LoginInterrupted:
                if login_interrupted:
                    raise
                login_interrupted = True
            except Redirected as exc:
                if self._played_s >= STABLE_AFTER_S:
                    seen = {url.public}
                url = self._redirected(url, exc.location)
                if url.public in seen or len(seen) > MAX_REDIRECTS:
                    raise CameraRefusal(
                        f"camera redirects in a circle, or more than {MAX_REDIRECTS} times; check its URL"
                    ) from None
                seen.add(url.public)
                transports, unreachable = self._order(url), None
                login_interrupted, refused_for_good = False, True
            except Unreachable as exc:
                unreachable = unreachable or exc
                refused_for_good &= exc.lasting
                port = self._port(transports[0], url)
                transports = tuple(item for item in transports[1:] if self._port(item, url) != port)
                if not transports:
                    raise unreachable from None
                self._tell(url, exc, transports[0])
            except (TransportRefused, Silent, LocalError) as exc:
                if self._heard or len(transports) == 1:
                    raise
                transports = transports[1:]
                refused_for_good &= not isinstance(exc, LocalError) and exc.lasting
                self._tell(url, exc, transports[0])

    def _port(self, transport: RtspTransport, url: CameraUrl) -> int:
        return port_of(url, over_http=transport == "http")

    def _tell(self, url: CameraUrl, error: CameraError | LocalError, following: RtspTransport) -> None:
        """Logs why another transport is tried, not again in each attempt of an outage."""
        text = f"! camera at {url.host}: {error}; now by {following}"
        if text not in self._told:
            if len(self._told) >= MAX_REMEMBERED_WARNINGS:
                self._told.clear()
            self._told.add(text)
            log.warning("%s", text)

    async def _play_over(
        self, transport: RtspTransport, url: CameraUrl, sink: Sink, refused_for_good: bool
    ) -> None:
        """One connection; always raises. `refused_for_good`: so were all transports before this one."""
        self._heard, self._played_s = False, 0.0
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
                self._heard, self._played_s = True, play.played_s
                self._told.clear()
                if refused_for_good:
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
        """Where the camera sends us; never out of TLS, and the login goes along only to its own host."""
        if location.startswith("/"):
            host = f"[{url.host}]" if ":" in url.host else url.host
            port = f":{url.port}" if url.port_given else ""
            location = f"{url.scheme}://{host}{port}{location}"
        try:
            target = parse_camera_url(location)
        except ConfigError as exc:
            raise RtspError(f"camera redirects to a URL of no use: it {exc}") from None
        own = self._url
        # Nothing more of it: paths and queries hold logins, too.
        where = f"{target.scheme}://{target.host}:{target.port}"
        if target.scheme not in ("rtsp", "rtsps"):
            raise CameraRefusal(f"camera redirects to {where}, which is no RTSP; check its URL")
        if url.scheme == "rtsps" and target.scheme == "rtsp":
            raise CameraRefusal(
                f"camera redirects from rtsps:// to {where}, which is not encrypted; "
                "use that URL if it may go in clear"
            )
        if target.username is None and target.host == own.host:
            return replace(target, username=own.username, password=own.password)
        return target
