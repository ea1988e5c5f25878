"""A camera that is killed, hangs, or loses cable or power: how it is seen, and how soon it is back.

The table is printed at the end. CCTV3_TEST_OUTAGE_S=20 makes the outages as long as in the field.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from common.access_unit import AccessUnit
from common.clock import SystemClock
from common.messages import RenditionState
from common.urls import parse_camera_url
from ingest.camera import Camera, Hooks
from ingest.output import Output
from ingest.rtsp_source import RtspOptions, RtspSource
from tests.support.netns import Namespace, namespace
from tests.support.ports import free_tcp_port
from tests.support.processes import gst_camera
from tests.support.table import Row, printed
from tests.support.udp_relay import Weather, udp_relay

pytestmark = pytest.mark.peers

OUTAGE_S = float(os.environ.get("CCTV3_TEST_OUTAGE_S", "4"))
DEADLINE_S = 60.0
UNITS = 15
PORT = 8554  # in a namespace of its own
SMALL = {"width": 320, "height": 180, "gop": 10}
TRANSPORTS = ("tcp", "udp")


class Life:
    """A camera's life with what it showed."""

    def __init__(self, url: str, transport: str) -> None:
        self.units: list[AccessUnit] = []
        self.states: list[RenditionState] = []
        clock = SystemClock()
        source = RtspSource(parse_camera_url(url), RtspOptions((transport,)), clock)
        self.output = Output(1)
        hooks = Hooks(self.units.append, self._changed)
        self.camera = Camera("cam", source, False, self.output, clock, hooks, seed=1)

    def _changed(self, state: RenditionState, error: str | None, at_ns: int) -> None:
        self.states.append(state)

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not reached():
                await asyncio.sleep(0.02)

    async def more(self) -> None:
        """Waits until it is live and shows pictures."""
        before = len(self.units)
        await self.until(lambda: self.camera.state == "live" and len(self.units) >= before + UNITS)

    async def outage(self) -> None:
        """Sleeps until the camera has been away for OUTAGE_S, and longer where it is not yet noticed."""
        await asyncio.gather(asyncio.sleep(OUTAGE_S), self.until(lambda: self.camera.state != "live"))

    async def seconds_until_back(self) -> float:
        """From now to the next picture that can be shown."""
        began, before = time.monotonic(), len(self.units)
        await self.until(lambda: self.camera.state == "live" and len(self.units) > before)
        return time.monotonic() - began

    def check_numbers(self) -> None:
        """What readers rely on: numbers and time go on, and after a hole comes a keyframe."""
        for before, after in zip(self.units, self.units[1:], strict=False):
            assert after.sequence > before.sequence and after.timestamp > before.timestamp
            assert after.sequence == before.sequence + 1 or after.keyframe


@contextlib.asynccontextmanager
async def living(url: str, transport: str) -> AsyncIterator[Life]:
    life = Life(url, transport)
    task = asyncio.create_task(life.camera.run())
    try:
        await life.more()
        yield life
        life.check_numbers()
    finally:
        task.cancel()
        await asyncio.wait((task,))


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[list[Row]]:
    with printed(request, "fault", "by", "states", "seconds from its return to pictures") as rows:
        yield rows


@pytest.fixture(scope="module")
def networks(request: pytest.FixtureRequest) -> Iterator[list[Row]]:
    titles = ("network", "by", "packets lost, reordered", "pictures shown", "holes", "longest hole, seconds")
    with printed(request, *titles) as rows:
        yield rows


@pytest.fixture
def far() -> Iterator[Namespace]:
    with namespace() as far:
        yield far


async def back(table: list[Row], fault: str, transport: str, life: Life) -> None:
    """Waits until it shows pictures again, and notes how long it took."""
    seconds = await life.seconds_until_back()
    await life.more()
    table.append((fault, transport, " ".join(life.states), f"{seconds:.1f}"))


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_killed_and_started_again(table: list[Row], transport: str) -> None:
    port = free_tcp_port()
    async with contextlib.AsyncExitStack() as stack:
        camera = await stack.enter_async_context(gst_camera(port=port, **SMALL))
        life = await stack.enter_async_context(living(camera.ready, transport))
        await camera.kill()
        await life.until(lambda: life.camera.state == "backing_off")
        await stack.enter_async_context(gst_camera(port=port, **SMALL))
        await back(table, "process killed", transport, life)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_cable_pulled_and_plugged(table: list[Row], far: Namespace, transport: str) -> None:
    async with (
        gst_camera(inside=far, host=far.address, port=PORT, **SMALL) as camera,
        living(camera.ready, transport) as life,
    ):
        far.pull_cable()
        await life.outage()
        far.plug_cable()
        await back(table, f"no cable for {OUTAGE_S:g} s", transport, life)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_power_lost_and_back(table: list[Row], far: Namespace, transport: str) -> None:
    """Nobody says goodbye: the connection stays half open, and the camera knows nothing of it later."""
    async with contextlib.AsyncExitStack() as stack:
        camera = await stack.enter_async_context(gst_camera(inside=far, host=far.address, port=PORT, **SMALL))
        life = await stack.enter_async_context(living(camera.ready, transport))
        far.pull_cable()
        await camera.kill()
        await life.outage()
        far.plug_cable()
        await stack.enter_async_context(gst_camera(inside=far, host=far.address, port=PORT, **SMALL))
        await back(table, f"no power for {OUTAGE_S:g} s", transport, life)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_hangs_and_goes_on(table: list[Row], transport: str) -> None:
    async with gst_camera(**SMALL) as camera, living(camera.ready, transport) as life:
        os.kill(camera.pid, signal.SIGSTOP)
        try:
            await life.outage()
        finally:
            os.kill(camera.pid, signal.SIGCONT)
        await back(table, f"hung for {OUTAGE_S:g} s", transport, life)


@pytest.mark.parametrize(
    ("network", "weather"),
    [
        ("1 % loss", Weather(loss=0.01, delay_s=0.02)),
        ("5 % loss", Weather(loss=0.05, delay_s=0.02)),
        ("50 ms jitter, reordering", Weather(delay_s=0.02, jitter_s=0.05)),
        ("1 % loss, 50 ms jitter", Weather(loss=0.01, delay_s=0.02, jitter_s=0.05)),
    ],
)
async def test_bad_network(networks: list[Row], network: str, weather: Weather) -> None:
    port = free_tcp_port()
    async with (
        gst_camera(port=port, width=640, height=360, gop=25, bitrate=1000),
        udp_relay(port, weather) as relay,
        living(f"rtsp://127.0.0.1:{relay.port}/camera", "udp") as life,
    ):
        began, first = time.monotonic(), len(life.units)
        await asyncio.sleep(OUTAGE_S)
        seconds = time.monotonic() - began
        units = life.units[first:]
        faults = life.output.faults
    intervals = [(b.arrival_ns - a.arrival_ns) / 1e9 for a, b in itertools.pairwise(units)]
    holes = sum(b.sequence != a.sequence + 1 for a, b in itertools.pairwise(units))
    shown = f"{len(units)} of {seconds * 25:.0f}"
    networks.append(
        (network, "udp", f"{faults.lost}, {faults.reordered}", shown, str(holes), f"{max(intervals):.2f}")
    )
    assert life.camera.reconnects == 0
    # The next whole keyframe ends a hole; there is one each second, and the network hits some of them.
    assert max(intervals) < 6
    if not weather.loss:
        assert (faults.lost, holes) == (0, 0) and faults.reordered > 0
