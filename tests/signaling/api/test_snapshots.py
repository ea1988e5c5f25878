"""Snapshots over the API: from a real camera and ingest process, decoded by the real child process."""

import asyncio
import io
import os
import sys
from email.utils import parsedate_to_datetime

import av
import pytest
from signaling_support import System, eventually

from common.config import CameraConfig, Config
from common.resolved import store_resolved
from tests.support.ports import free_tcp_port
from tests.support.processes import PROJECT, simulated_camera

PATH = "/api/v1/cameras/yard/snapshot"


async def test_of_a_live_camera(system: System) -> None:
    async with simulated_camera(free_tcp_port()) as url:
        store_resolved(Config((CameraConfig("yard", url, False),)), system.folder)
        environment = {**os.environ, "CCTV3_RUN": str(system.folder)}
        command = [sys.executable, "-m", "ingest", "yard"]
        ingest = await asyncio.create_subprocess_exec(
            *command, cwd=PROJECT, env=environment, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            await eventually(lambda: system.broker.registry.status("yard").state == "live")

            async def get() -> tuple[str, bytes]:
                async with system.client.get(f"{system.url}{PATH}?width=320") as response:
                    assert response.status == 200, await response.text()
                    assert response.content_type == "image/jpeg"
                    assert response.headers["Cache-Control"] == "no-store"
                    return response.headers["Last-Modified"], await response.read()

            first, second = await asyncio.gather(get(), get())
        finally:
            ingest.terminate()
            await ingest.wait()
    assert first == second
    assert parsedate_to_datetime(first[0]).tzinfo is not None
    with av.open(io.BytesIO(first[1]), format="image2pipe") as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height) == (320, 180)


@pytest.mark.parametrize("width", ["15", "3841", "-1", "x", "", "99999999"])
async def test_widths_that_are_none(system: System, width: str) -> None:
    async with system.client.get(system.url + PATH, params={"width": width}) as response:
        assert response.status == 422 and "16 to 3840" in await response.text()


async def test_of_a_camera_that_is_not_there(system: System) -> None:
    async with system.client.get(f"{system.url}/api/v1/cameras/nobody/snapshot") as response:
        assert response.status == 404
    async with system.client.get(system.url + PATH) as response:
        assert response.status == 503 and response.headers["Retry-After"]
