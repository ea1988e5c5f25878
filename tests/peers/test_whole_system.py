"""The running system met by WHEP clients, good and bad, and by cameras that come and go."""

import asyncio
import contextlib
import json
import socket
import time

import aiohttp
import pytest

from tests.support.processes import gst_camera
from tests.support.system import running_system
from tests.support.viewer import Viewer
from tests.support.viewer_carriers import Refusal, whep

pytestmark = pytest.mark.peers

SDP = {"Content-Type": "application/sdp"}


async def test_whep_from_offer_to_delete_while_others_misbehave() -> None:
    async with (
        gst_camera(gop=25) as camera,
        running_system({"gate": {"url": camera.ready}}) as system,
        aiohttp.ClientSession() as http,
        contextlib.AsyncExitStack() as stack,
    ):
        await system.until_live("gate")
        viewer = Viewer(decrypt=True)
        stack.callback(viewer.close)
        resource = await whep(http, f"{system.url}/whep/gate", viewer)
        session = resource.url
        await viewer.until(lambda: len(viewer.access_units) >= 10)

        trickle = {"Content-Type": "application/trickle-ice-sdpfrag"}
        async with http.patch(session, data="a=end-of-candidates\r\n", headers=trickle) as response:
            assert response.status == 428
        trickle["If-Match"] = resource.etag
        async with http.patch(session, data="a=end-of-candidates\r\n", headers=trickle) as response:
            assert response.status == 204

        no_h264 = viewer.offer().replace("H264/90000", "VP8/90000")
        no_video = viewer.offer().replace("m=video", "m=audio")
        for path, body, expected in (
            ("gate", "hello", 400),
            ("gate", "", 400),
            ("gate", no_h264, 406),
            ("gate", no_video, 406),
            ("gate", "v=0\r\n" + "a=x\r\n" * 200_000, 413),
            ("nowhere", viewer.offer(), 404),
        ):
            async with http.post(f"{system.url}/whep/{path}", data=body, headers=SDP) as response:
                assert (response.status, path) == (expected, path)
                assert response.content_type == "application/problem+json"
                assert json.loads(await response.text())["detail"]
        async with http.post(f"{system.url}/whep/gate", data=viewer.offer()) as response:
            assert response.status == 415
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for size in range(1, 1000, 7):
                stranger.sendto(bytes(range(size % 256)) * 4, ("127.0.0.1", system.media_port))

        seen = len(viewer.access_units)
        await viewer.until(lambda: len(viewer.access_units) >= seen + 25)
        assert viewer.totals().lost == 0 and viewer.faults == []
        assert (await system.camera("gate"))["viewers"] == 1

        async with http.delete(session) as response:
            assert response.status == 200
        await viewer.until(lambda: viewer.closed_by_peer)

        async def gone() -> bool:
            # 503 in the first seconds of signaling's life: a worker might still name the session.
            async with http.delete(session) as response:
                assert response.status in (404, 503)
                return response.status == 404

        await system.until(gone, 5)
        assert (await system.camera("gate"))["viewers"] == 0
        assert "Traceback" not in system.log_text()


async def test_a_whep_viewer_of_a_killed_worker_notices_by_ice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.support.viewer.CONSENT_INTERVAL_S", 0.1)
    async with (
        gst_camera(gop=25) as camera,
        running_system({"gate": {"url": camera.ready}}, workers=2) as system,
        aiohttp.ClientSession() as http,
        contextlib.AsyncExitStack() as stack,
    ):
        await system.until_live("gate")
        await system.until(lambda: "fanout-1 is up" in system.log_text())
        viewer, again = Viewer(), Viewer()
        stack.callback(viewer.close)
        stack.callback(again.close)
        resource = await whep(http, f"{system.url}/whep/gate", viewer)
        worker = (await system.session(resource.url.rpartition("/")[2]))["worker"]
        consents = viewer.consents
        await viewer.until(lambda: viewer.consents > consents + 5)
        await asyncio.sleep(3)  # supervisord restarts at once what has run for 3 s
        killed, began_s = system.kill(worker), time.monotonic()
        consents = viewer.consents

        async def joined() -> bool:
            try:
                await whep(http, f"{system.url}/whep/gate", again)
            except Refusal:  # signaling has not noticed yet
                return False
            return True

        await system.until(joined)
        await again.until(lambda: again.reception.units > 0)
        took_s = time.monotonic() - began_s
        # The next process has the same port, but no answer for a viewer that it does not know.
        await system.until(lambda: system.pid(worker) != killed)
        await system.until(lambda: system.log_text().count(f"worker {worker} is up") == 2)
        await asyncio.sleep(0.5)
        assert viewer.consents <= consents + 1, "one may have been on its way"
        async with http.delete(resource.url) as response:
            assert response.status == 404
    with capsys.disabled():
        print(f"\nkill -9 of a worker: its WHEP viewer plays again from the other one {took_s:.2f} s later")
    assert took_s <= 3.0


async def test_an_on_demand_camera_is_connected_while_somebody_watches() -> None:
    async with (
        gst_camera(gop=25) as camera,
        running_system({"gate": {"url": camera.ready, "on_demand": True}}) as system,
        aiohttp.ClientSession() as http,
        contextlib.AsyncExitStack() as stack,
    ):

        async def idle() -> bool:
            return (await system.camera("gate"))["state"] == "idle"

        await system.until(idle)
        viewer = Viewer(decrypt=True)
        stack.callback(viewer.close)
        await whep(http, f"{system.url}/whep/gate", viewer)
        await viewer.until(lambda: len(viewer.access_units) >= 30, 15)
        assert (await system.camera("gate"))["state"] == "live"
        viewer.close()
        # 5 s until the worker lets go, 10 s more until ingest does.
        await system.until(idle, 25)


async def test_one_bad_camera_disturbs_no_other() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        async with (
            gst_camera(gop=25) as camera,
            running_system(
                {
                    "good": {"url": camera.ready},
                    "silent": {"url": f"rtsp://127.0.0.1:{port}/"},
                    "refusing": {"url": "rtsp://127.0.0.1:1/"},
                    "missing": {"url": camera.ready.replace("/camera", "/nothing")},
                }
            ) as system,
        ):
            await system.until_live("good")

            async def told() -> bool:
                cameras = [await system.camera(name) for name in ("silent", "refusing", "missing")]
                return all(camera["state"] != "down" and camera["error"] for camera in cameras)

            await system.until(told, 25)
            assert "refuses" in (await system.camera("refusing"))["error"]
            assert "404" in (await system.camera("missing"))["error"]
            good = await system.camera("good")
            assert good["state"] == "live" and good["error"] is None
            lines = [line for line in system.log_text().splitlines() if "refuses connections" in line]
            assert len(lines) == 1
