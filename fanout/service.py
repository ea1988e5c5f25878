"""A fanout worker: takes offers from signaling, holds viewers and streams, reports its load."""

import asyncio
import itertools
import logging
import os
import secrets
from collections import Counter
from pathlib import Path

from common import bus
from common.errors import CctvError
from common.messages import (
    Answer,
    CandidateRequest,
    CloseRequest,
    Done,
    DrainRequest,
    FanoutHello,
    Message,
    OfferRequest,
    Refused,
    SelectRequest,
    SessionChanged,
    SessionEnded,
    SessionEntry,
    SessionsReport,
    SessionsRequest,
    WorkerReport,
)
from common.resolved import FanoutConfig, SystemConfig
from fanout import egress
from fanout.dtls import Certificate
from fanout.ice.addresses import candidate_addresses
from fanout.ice.full import FullAgent
from fanout.ice.lite import LiteAgent
from fanout.ice.session import IceAgent
from fanout.load import LoadMeter
from fanout.pacer import Pacer
from fanout.sdp.answer import LocalEnd, answer
from fanout.sdp.offer import BadOffer, NotAcceptable, parse_offer
from fanout.stream_pool import StreamPool
from fanout.viewer import CNAME, Room, Viewer
from fanout.viewing import Showing

log = logging.getLogger(__name__)

REPORT_INTERVAL_S = 1.0
# Each viewer is looked at twice a second, a tenth of them at a time: no burst of work that delays media.
CHECK_INTERVAL_S = 0.5
CHECK_PARTS = 10
NOISE_PER_REPORT = 20
MAX_FRAGMENT_BYTES = 16 << 10


class Worker:
    """One fanout process."""

    def __init__(self, number: int, config: SystemConfig, own: FanoutConfig, run_folder: Path) -> None:
        self.name = f"fanout-{number}"
        self._epoch = secrets.randbits(63)
        self._viewers: dict[str, Viewer] = {}
        self._gone = Counter[str]()
        self._rejected_said = 0
        self._draining = False
        self._agent: IceAgent
        if own.ice == "full":
            self._agent = FullAgent(own.ice_servers, candidate_addresses(config))
            self._egress = egress.Egress(-1, -1, False)
            self._where = "ports of each viewer's own"
        else:
            addresses = candidate_addresses(config)
            agent = self._agent = LiteAgent(config.media_port + number, addresses)
            self._egress = agent.egress
            self._where = f"port {config.media_port + number}, candidates {', '.join(addresses)}"
        self._pacer = Pacer()
        self._pool = StreamPool(self.name, self._egress)
        self._certificate = Certificate.generateCertificate()
        self._room = Room(
            self._egress,
            self._pacer,
            self._pool,
            self._certificate,
            self._viewer_closed,
            self._viewer_changed,
        )
        self._load = LoadMeter()
        self._control = bus.ControlClient(
            bus.ipc_endpoint(run_folder, "control"), self.name, self._hello, self._on_request
        )

    def _hello(self) -> FanoutHello:
        return FanoutHello.of(
            worker=self.name,
            epoch=self._epoch,
            pid=os.getpid(),
            draining=self._draining,
            entries=(
                SessionEntry(viewer.session, viewer.camera, viewer.watcher)
                for viewer in self._viewers.values()
            ),
        )

    async def run(self) -> None:
        """Serves until cancelled; then says goodbye to every viewer."""
        log.info("= %s on %s, egress: %s", self.name, self._where, egress.FORM)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._load.run())
                group.create_task(self._check_viewers())
                group.create_task(self._report())
        finally:
            await self._close()

    async def _check_viewers(self) -> None:
        for part in itertools.cycle(range(CHECK_PARTS)):
            await asyncio.sleep(CHECK_INTERVAL_S / CHECK_PARTS)
            for viewer in list(self._viewers.values())[part::CHECK_PARTS]:
                try:
                    viewer.check()
                except Exception:
                    # One viewer's fault must not stop the others.
                    log.exception("! a viewer's check failed")

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_INTERVAL_S)
            self._say_rejected()
            cpu, lag, packets = self._load.take(self._packets)
            self._control.notify(
                WorkerReport(
                    worker=self.name,
                    viewers=len(self._viewers),
                    cpu=cpu,
                    loop_lag_s=lag,
                    packets_per_s=packets,
                    egress=egress.FORM,
                    packets=self._packets,
                    retransmitted=self._total("retransmitted"),
                    dropped_frames=self._total("dropped_frames"),
                    switches=self._total("switches"),
                    rejected=self._rejected,
                    history_octets=self._pool.octets,
                    cameras=self._pool.cameras,
                    refused_sends=self._egress.refused,
                    draining=self._draining,
                )
            )

    @property
    def _packets(self) -> int:
        return self._total("packets")

    @property
    def _rejected(self) -> int:
        return self._agent.rejected + self._total("rejected")

    def _total(self, name: str) -> int:
        """A count over the viewers of now and before."""
        now: int = sum(getattr(viewer, name) for viewer in self._viewers.values())
        return self._gone[name] + now

    def _say_rejected(self) -> None:
        total = self._rejected
        rejected = total - self._rejected_said
        if rejected:
            self._rejected_said = total
            # A viewer that was ended goes on for a moment; that is no news.
            log.log(
                logging.WARNING if rejected >= NOISE_PER_REPORT else logging.DEBUG,
                "! media port: %d datagrams rejected: not WebRTC, not authentic, or from nobody known",
                rejected,
            )

    async def _on_request(self, message: Message) -> Message:
        match message:
            case OfferRequest():
                return await self._offer(message)
            case DrainRequest(draining):
                self._draining = draining
                return Done()
            case SessionsRequest(None):
                return SessionsReport(tuple(viewer.report() for viewer in self._viewers.values()))
            case (
                CandidateRequest(session)
                | SelectRequest(session)
                | CloseRequest(session)
                | SessionsRequest(str(session))
            ):
                viewer = self._viewers.get(session)
                if viewer is None:
                    return Refused("unknown-session", "this session has ended")
                return await self._on_session_request(viewer, message)
            case _:
                return Refused("internal", f"a worker takes no {message.TYPE}")

    async def _on_session_request(
        self, viewer: Viewer, message: CandidateRequest | SelectRequest | CloseRequest | SessionsRequest
    ) -> Message:
        match message:
            case SessionsRequest():
                return SessionsReport((viewer.report(),))
            case CandidateRequest(_, fragment):
                if len(fragment) > MAX_FRAGMENT_BYTES:
                    return Refused("bad-offer", f"a candidate of {len(fragment)} characters")
                viewer.add_candidates(fragment)
            case SelectRequest(_, quality):
                if quality not in viewer.qualities:
                    return Refused(
                        "not-acceptable",
                        f"camera {viewer.camera} has no {quality} stream that this browser plays",
                    )
                viewer.select(quality)
            case CloseRequest():
                self._forget(viewer)
                await viewer.close()
        return Done()

    async def _offer(self, request: OfferRequest) -> Message:
        try:
            offer = parse_offer(request.sdp, request.renditions)
            if request.session in self._viewers:
                return Refused("internal", "this session exists already")
            viewer = Viewer(request, offer, self._room)
            ice = await viewer.open(self._agent)
        except NotAcceptable as exc:
            return Refused("not-acceptable", str(exc))
        except BadOffer as exc:
            return Refused("bad-offer", str(exc))
        except CctvError as exc:
            return Refused("internal", str(exc))
        self._viewers[request.session] = viewer
        # candidate:FOUNDATION COMPONENT TRANSPORT PRIORITY ADDRESS PORT … (RFC 8839 section 5.1)
        _, _, _, _, address, port, *_ = ice.candidates[0].split()
        local = LocalEnd(
            ice_ufrag=ice.ufrag,
            ice_pwd=ice.password,
            ice_lite=self._agent.lite,
            candidates=ice.candidates,
            fingerprint=self._certificate.sha256,
            address=address,
            port=int(port),
            cname=CNAME,
            stream_id=request.camera,
            video_ssrc=viewer.video_ssrc,
            rtx_ssrc=viewer.rtx_ssrc,
            audio_ssrc=viewer.audio_ssrc,
        )
        sdp = answer(offer, local, secrets.randbits(62))
        return Answer(session=request.session, sdp=sdp, ice_ufrag=ice.ufrag)

    def _forget(self, viewer: Viewer) -> None:
        if self._viewers.pop(viewer.session, None) is not None:
            for name in ("packets", "retransmitted", "dropped_frames", "switches", "rejected"):
                self._gone[name] += getattr(viewer, name)

    def _viewer_closed(self, viewer: Viewer, reason: str) -> None:
        self._forget(viewer)
        self._control.notify(SessionEnded(viewer.session, reason))

    def _viewer_changed(self, viewer: Viewer, showing: Showing, reason: str) -> None:
        self._control.notify(SessionChanged(viewer.session, showing, reason))

    async def _close(self) -> None:
        for viewer in self._viewers.values():
            self._control.notify(SessionEnded(viewer.session, "the worker is stopping"))
            await viewer.close()
        self._pool.close()
        self._pacer.close()
        self._control.close()
        await self._agent.close()
