"""A fanout worker: takes offers from signaling, holds viewers and streams, reports its load."""

import asyncio
import logging
import os
import secrets
from pathlib import Path

from common import bus
from common.config import SystemConfig
from common.messages import (
    Answer,
    CandidateRequest,
    CloseRequest,
    Done,
    FanoutHello,
    Message,
    OfferRequest,
    Refused,
    SessionEnded,
    SessionEntry,
    WorkerReport,
)
from fanout.addresses import candidate_addresses
from fanout.answer import LocalEnd, answer
from fanout.dtls import Certificate
from fanout.ice_lite import IceSocket
from fanout.load import LoadMeter
from fanout.offer import BadOffer, NotAcceptable, parse_offer
from fanout.pacer import Pacer
from fanout.stream import Stream, problem_with
from fanout.viewer import CNAME, Viewer

log = logging.getLogger(__name__)

REPORT_INTERVAL_S = 1.0
STREAM_LINGER_S = 5.0  # a page that is reloaded finds the stream still there
NOISE_PER_REPORT = 20
MAX_FRAGMENT_BYTES = 16 << 10


class Worker:
    """One fanout process."""

    def __init__(self, number: int, config: SystemConfig, run_folder: Path) -> None:
        self.name = f"fanout-{number}"
        self._port = config.media_port + number
        self._addresses = candidate_addresses(config)
        self._epoch = secrets.randbits(63)
        self._loop = asyncio.get_running_loop()
        self._viewers: dict[str, Viewer] = {}
        self._streams: dict[str, Stream] = {}
        self._lingering: dict[str, asyncio.TimerHandle] = {}
        self._dropped_by_gone = 0
        self._rejected_said = 0
        self._certificate = Certificate.generateCertificate()
        self._ice = IceSocket(self._port)
        self._pacer = Pacer()
        self._load = LoadMeter()
        self._control = bus.ControlClient(
            bus.ipc_endpoint(run_folder, "control"), self.name, self._hello, self._on_request
        )

    def _hello(self) -> FanoutHello:
        return FanoutHello(
            worker=self.name,
            epoch=self._epoch,
            pid=os.getpid(),
            sessions=tuple(
                SessionEntry(session=viewer.session, camera=viewer.stream.camera)
                for viewer in self._viewers.values()
            ),
        )

    async def run(self) -> None:
        """Serves until cancelled; then says goodbye to every viewer."""
        log.info("= %s on UDP port %d, candidates %s", self.name, self._port, ", ".join(self._addresses))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._load.run())
                group.create_task(self._housekeeping())
        finally:
            await self._close()

    async def _housekeeping(self) -> None:
        while True:
            await asyncio.sleep(REPORT_INTERVAL_S)
            for viewer in list(self._viewers.values()):
                viewer.check()
                viewer.report(CNAME)
            self._say_rejected()
            cpu, lag, packets = self._load.take(self._ice.egress.packets)
            dropped = sum(viewer.dropped_frames for viewer in self._viewers.values())
            self._control.notify(
                WorkerReport(
                    worker=self.name,
                    viewers=len(self._viewers),
                    cpu=cpu,
                    loop_lag_s=lag,
                    packets_per_s=packets,
                    dropped_frames=self._dropped_by_gone + dropped,
                )
            )

    def _say_rejected(self) -> None:
        rejected = self._ice.rejected - self._rejected_said
        if rejected:
            self._rejected_said = self._ice.rejected
            # A viewer that was ended goes on for a moment; that is no news.
            log.log(
                logging.WARNING if rejected >= NOISE_PER_REPORT else logging.DEBUG,
                "! media port: %d datagrams rejected: not WebRTC, not authentic, or from nobody known",
                rejected,
            )

    async def _on_request(self, message: Message) -> Message:
        match message:
            case OfferRequest():
                return self._offer(message)
            case CandidateRequest(session, fragment):
                # A lite agent learns the viewer's addresses from its checks (RFC 8445 section 2.5); what is
                # trickled only has to belong to a session.
                if session not in self._viewers:
                    return Refused("unknown-session", "this session has ended")
                if len(fragment) > MAX_FRAGMENT_BYTES:
                    return Refused("bad-offer", f"a candidate of {len(fragment)} characters")
                return Done()
            case CloseRequest(session):
                viewer = self._viewers.get(session)
                if viewer is None:
                    return Refused("unknown-session", "this session has ended")
                self._forget(viewer)
                await viewer.close()
                return Done()
            case _:
                return Refused("internal", f"a worker takes no {message.TYPE}")

    def _offer(self, request: OfferRequest) -> Message:
        problem = problem_with(request.camera, request.codec)
        if problem is not None:
            return Refused("not-acceptable", problem)
        try:
            offer = parse_offer(request.sdp, request.profile_level_id)
        except BadOffer as exc:
            return Refused("bad-offer", str(exc))
        except NotAcceptable as exc:
            return Refused("not-acceptable", str(exc))
        if request.session in self._viewers:
            return Refused("internal", "this session exists already")
        stream = self._stream(request.camera, request.media_endpoint)
        viewer = Viewer(
            request.session, offer, stream, self._ice, self._pacer, self._certificate, self._on_viewer_closed
        )
        self._viewers[request.session] = viewer
        local = LocalEnd(
            ice_ufrag=viewer.ice_session.ufrag,
            ice_pwd=viewer.ice_session.password,
            fingerprint=self._certificate.sha256,
            addresses=self._addresses,
            port=self._port,
            ssrc=viewer.ssrc,
            cname=CNAME,
            stream_id=request.camera,
        )
        sdp = answer(offer, local, secrets.randbits(62))
        return Answer(session=request.session, sdp=sdp, ice_ufrag=viewer.ice_session.ufrag)

    def _stream(self, camera: str, endpoint: str) -> Stream:
        lingering = self._lingering.pop(camera, None)
        if lingering is not None:
            lingering.cancel()
        stream = self._streams.get(camera)
        if stream is None:
            log.info("= camera %s: subscribed", camera)
            stream = self._streams[camera] = Stream(camera, self.name, endpoint)
        return stream

    def _forget(self, viewer: Viewer) -> None:
        self._viewers.pop(viewer.session, None)
        self._dropped_by_gone += viewer.dropped_frames
        camera = viewer.stream.camera
        if not any(other.stream is viewer.stream for other in self._viewers.values()):
            self._lingering[camera] = self._loop.call_later(STREAM_LINGER_S, self._release, camera)

    def _release(self, camera: str) -> None:
        self._lingering.pop(camera, None)
        log.info("= camera %s: released, nobody watches", camera)
        self._streams.pop(camera).close()

    def _on_viewer_closed(self, viewer: Viewer, reason: str) -> None:
        self._forget(viewer)
        self._control.notify(SessionEnded(viewer.session, reason))

    async def _close(self) -> None:
        for handle in self._lingering.values():
            handle.cancel()
        for viewer in self._viewers.values():
            self._control.notify(SessionEnded(viewer.session, "the worker is stopping"))
            await viewer.close()
        for stream in self._streams.values():
            stream.close()
        self._pacer.close()
        self._control.close()
        self._ice.close()
