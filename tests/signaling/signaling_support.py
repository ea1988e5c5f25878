"""Signaling over the real bus and real HTTP, with small workers and ingests that answer from memory."""

import asyncio
import dataclasses
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import aiohttp

from common.access_config import AuthConfig, ProxyAuthConfig, SignalingConfig, UserConfig
from common.bus import ControlClient, ipc_endpoint
from common.messages import (
    ANYBODY,
    Answer,
    CameraReport,
    CandidateRequest,
    CloseRequest,
    Done,
    DrainRequest,
    EditRequest,
    FanoutHello,
    IngestHello,
    Message,
    OfferRequest,
    OrderRequest,
    Refused,
    ReloadRequest,
    SelectRequest,
    SessionChanged,
    SessionEnded,
    SessionEntry,
    SessionReport,
    SessionsReport,
    SessionsRequest,
    Settings,
    SettingsEntry,
    SettingsRequest,
    SettingsState,
    Watcher,
    WorkerReport,
)
from signaling.access.authority import Authority
from signaling.app import create_app, listen
from signaling.broker import SETTLING_S, Broker
from signaling.sessions import Session
from tests.support.reports import WELL

DEADLINE_S = 0.3
OFFER = (
    "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n"
    "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:vwr1\r\n"
    "a=ice-pwd:0123456789012345678901\r\na=mid:0\r\na=recvonly\r\na=rtpmap:96 H264/90000\r\n"
)
ANSWER = "v=0\r\no=- 3 4 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-lite\r\n"
FRAGMENT = (
    "a=ice-ufrag:vwr1\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n"
    "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n"
)


async def eventually(condition: Callable[[], object]) -> None:
    """Lets the loop run until `condition` holds; the test's own time limit ends a vain wait."""
    while not condition():
        await asyncio.sleep(0.002)


class FakeClock:
    """Time that only tests move."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic_s(self) -> float:
        return self.now_s

    def utc_ns(self) -> int:
        return int(self.now_s * 1e9)

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(0)
        self.now_s += delay_s


def camera_report(camera: str, **changes: object) -> CameraReport:
    return CameraReport(camera, (dataclasses.replace(WELL, **changes),))  # type: ignore[arg-type]


SUB = dataclasses.replace(WELL, name="sub", state="idle", video=None, audio=None, last_access_unit_age_s=None)
"A sub stream that nobody has watched yet."


def worker_report(worker: str, cpu: float = 0.0, viewers: int = 0) -> WorkerReport:
    return WorkerReport(
        worker=worker,
        viewers=viewers,
        cpu=cpu,
        loop_lag_s=0.002,
        packets_per_s=900.0,
        egress="kernel",
        packets=90_000,
        retransmitted=40,
        dropped_frames=3,
        switches=2,
        rejected=1,
        history_octets=5_000_000,
        cameras=("front",),
        refused_sends=0,
        draining=False,
    )


def session_report(session: str, camera: str) -> SessionReport:
    return SessionReport(
        session=session,
        camera=camera,
        state="connected",
        path="udp 192.0.2.7:5000",
        srtp="SRTP_AEAD_AES_128_GCM",
        quality="auto",
        showing="main",
        video_codec="H264",
        audio_codec=None,
        packets=1000,
        octets=1_000_000,
        retransmitted=4,
        dropped_frames=0,
        keyframe_requests=1,
        loss=0.01,
        rtt_s=0.02,
        available_bitrate=None,
        rendition="main",
        last_access_unit_age_s=0.03,
        gaps=2,
        keyframe_cached=True,
    )


@dataclass
class FakeWorker:
    """Answers offers with canned SDP; `reply` overrides that, None means silence."""

    name: str
    endpoint: str
    epoch: int = 1
    sessions: dict[str, str] = field(default_factory=dict)
    requests: list[Message] = field(default_factory=list)
    reply: Message | None = None
    silent: bool = False
    draining: bool = False
    pid: int = 100
    watchers: dict[str, Watcher] = field(default_factory=dict)
    notices: tuple[SessionChanged | SessionEnded, ...] = ()
    "What it says of a session while it is being opened; their ids are filled in."

    def start(self) -> "FakeWorker":
        self.client = ControlClient(self.endpoint, f"fanout-{self.name}", self.hello, self.answer)
        return self

    def hello(self) -> FanoutHello:
        entries = tuple(
            SessionEntry(session, camera, self.watchers.get(session, ANYBODY))
            for session, camera in self.sessions.items()
        )
        return FanoutHello.of(self.name, self.epoch, self.pid, self.draining, entries)

    def report(self, cpu: float = 0.0) -> None:
        report = worker_report(self.name, cpu, len(self.sessions))
        self.client.notify(dataclasses.replace(report, draining=self.draining))

    def change(self, session: str, showing: Literal["main", "sub", "keyframes"], reason: str) -> None:
        self.client.notify(SessionChanged(session, showing, reason))

    def end(self, session: str, reason: str) -> None:
        del self.sessions[session]
        self.client.notify(SessionEnded(session, reason))

    def offers(self) -> list[OfferRequest]:
        return [request for request in self.requests if isinstance(request, OfferRequest)]

    async def answer(self, message: Message) -> Message:
        self.requests.append(message)
        if self.silent:
            await asyncio.Event().wait()
        if self.reply is not None:
            return self.reply
        match message:
            case OfferRequest():
                self.sessions[message.session] = message.camera
                self.watchers[message.session] = message.watcher
                for notice in self.notices:
                    self.client.notify(dataclasses.replace(notice, session=message.session))
                return Answer(message.session, ANSWER, f"srv{len(self.requests)}")
            case DrainRequest(draining):
                self.draining = draining
                return Done()
            case SessionsRequest(None):
                return SessionsReport(tuple(session_report(*entry) for entry in self.sessions.items()))
            case SessionsRequest(str(session)) if session in self.sessions:
                return SessionsReport((session_report(session, self.sessions[session]),))
            case SessionsRequest():
                return Refused("unknown-session", "not here")
            case CandidateRequest() | SelectRequest():
                return Done() if message.session in self.sessions else Refused("unknown-session", "not here")
            case CloseRequest():
                if self.sessions.pop(message.session, None) is None:
                    return Refused("unknown-session", "not here")
                return Done()
        raise AssertionError(message)


SETTINGS = SettingsState(1, 1, ("front", "yard"), True, None, ())


@dataclass
class FakeKeeper:
    """Keeps entries in memory; the etag of each is its content."""

    endpoint: str
    state: SettingsState = SETTINGS
    entries: dict[str, str] = field(default_factory=dict)
    requests: list[Message] = field(default_factory=list)
    reply: Message | None = None
    silent: bool = False

    def start(self, identity: str = "keeper") -> "FakeKeeper":
        self.client = ControlClient(self.endpoint, identity, lambda: self.state, self.answer)
        return self

    def change(self, **changes: object) -> None:
        """Other settings are in force, or the file has another error."""
        self.state = dataclasses.replace(self.state, **changes)  # type: ignore[arg-type]
        self.client.notify(self.state)

    async def answer(self, message: Message) -> Message:
        self.requests.append(message)
        if self.silent:
            await asyncio.Event().wait()
        if self.reply is not None:
            return self.reply
        match message:
            case ReloadRequest():
                return self.state
            case OrderRequest(cameras):
                self.change(cameras=cameras)
                return self.state
            case EditRequest(_, name, content, etag):
                before = self.entries.get(name)
                if etag not in (None, "new" if before is None else before):
                    return Refused("changed-meanwhile" if etag != "new" else "exists", f"{name}: look again")
                if content is None:
                    if before is None:
                        return Refused("unknown", f"there is no {name}")
                    del self.entries[name]
                else:
                    self.entries[name] = content
            case SettingsRequest(_, name):
                if name is not None:
                    found = self.entries.get(name)
                    return Settings((SettingsEntry(name, found, found),) if found is not None else ())
        return Settings(tuple(SettingsEntry(name, text, text) for name, text in self.entries.items()))


USER = "X-Remote-User"
"The header by which a test says who asks, where the system was started with users."


def users(*known: UserConfig) -> SignalingConfig:
    """These users, each known by the header as if a reverse proxy had logged them in."""
    return SignalingConfig(
        auth=AuthConfig("users", known, proxy=ProxyAuthConfig(USER, ("127.0.0.1/32",))),
        trusted_proxies=("127.0.0.1/32",),
    )


class System:
    """Signaling as it runs, its peers and an HTTP client."""

    def __init__(self, folder: Path, config: SignalingConfig | None = None) -> None:
        self.folder = folder
        self.config = config or SignalingConfig()
        self.endpoint = ipc_endpoint(folder, "control")
        self.clock = FakeClock()
        self.peers: list[ControlClient] = []
        self.client = aiohttp.ClientSession()
        self.ice_urls: tuple[str, ...] = ()
        self._epochs = itertools.count(1)
        self.worker: FakeWorker
        "The first worker, where a fixture made one."

    async def start(self) -> None:
        self.authority = Authority(self.clock, self.folder / "state", self.config, loopback=True)
        self.broker = Broker(("front", "yard"), self.endpoint, self.clock, self.authority, DEADLINE_S)
        app = create_app(self.broker, self.authority, self.clock, self.folder, self.ice_urls)
        self.runner = await listen(app, "127.0.0.1", 0)
        self.port = self.runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        await self.runner.cleanup()
        await self.broker.close()
        self.authority.close()

    async def close(self) -> None:
        await self.client.close()
        await self.stop()
        for peer in self.peers:
            peer.close()

    def settle(self) -> None:
        """Lets the time pass in which signaling may still learn of sessions."""
        self.clock.now_s += SETTLING_S
        self.broker.registry.forgive(SETTLING_S)

    async def add_worker(self, name: str, **options: object) -> FakeWorker:
        worker = FakeWorker(name, self.endpoint, **options).start()  # type: ignore[arg-type]
        self.peers.append(worker.client)
        await eventually(lambda: self.has_worker(name))
        return worker

    def has_worker(self, name: str) -> bool:
        return any(worker.identity == f"fanout-{name}" for worker in self.broker.registry.workers())

    async def add_keeper(self) -> FakeKeeper:
        keeper = FakeKeeper(self.endpoint).start()
        self.peers.append(keeper.client)
        await eventually(lambda: self.broker.settings is not None)
        return keeper

    async def open(self, camera: str = "front", watcher: Watcher = ANYBODY) -> Session:
        """A session without a socket."""
        session, _ = await self.broker.open(camera, OFFER, None, watcher)
        return session

    async def add_ingest(self, camera: str, **changes: object) -> ControlClient:
        epoch = next(self._epochs)
        hello = IngestHello(camera, epoch, 200, f"ipc:///run/{camera}.sock")
        peer = ControlClient(self.endpoint, f"ingest-{camera}", lambda: hello)
        self.peers.append(peer)
        peer.notify(camera_report(camera, **changes))
        await eventually(lambda: self.broker.registry.status(camera).report is not None)
        return peer

    async def post(
        self,
        camera: str = "front",
        body: str | bytes = OFFER,
        kind: str = "application/sdp",
        user: str | None = None,
    ) -> aiohttp.ClientResponse:
        headers = {"Content-Type": kind} | ({USER: user} if user is not None else {})
        return await self.client.post(f"{self.url}/whep/{camera}", data=body, headers=headers)


async def started(
    folder: Path, config: SignalingConfig | None = None, ice_urls: tuple[str, ...] = ()
) -> System:
    """Signaling with the live camera `front` and the worker `w0`; `yard` is configured but not up."""
    system = System(folder, config)
    system.ice_urls = ice_urls
    await system.start()
    system.settle()
    await system.add_ingest("front")
    system.worker = await system.add_worker("w0")
    return system
