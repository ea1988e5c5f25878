"""Behind nginx, under a path prefix and its TLS, as docs/operations.md says how."""

import asyncio
import contextlib
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.support import certificates
from tests.support.browser import ViewerPage, chromium
from tests.support.ports import free_tcp_port
from tests.support.processes import PROJECT, gst_camera, until_listening
from tests.support.system import running_system
from tests.support.viewer import Viewer
from tests.support.viewer_carriers import whep

pytestmark = pytest.mark.peers

PREFIX = "/cameras"
OURS = "http://127.0.0.1:8080/"

# What a packaged nginx.conf has, in a folder of its own.
MAIN = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {beside}
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {files.certificate};
        ssl_certificate_key {files.key};
        {location}
    }}
}}
"""


def documented() -> tuple[str, str]:
    """The two parts of nginx's configuration that the operations manual shows."""
    text = (PROJECT / "docs" / "operations.md").read_text()
    location, beside = re.findall(r"```nginx\n(.*?)```", text, re.DOTALL)
    assert OURS in location and f"location {PREFIX}/" in location
    return location, beside


@contextlib.asynccontextmanager
async def nginx(folder: Path, behind: str) -> AsyncIterator[str]:
    """The URL of the page through nginx; `behind` is that of the system."""
    folder.mkdir()
    port = free_tcp_port()
    location, beside = documented()
    config = folder / "nginx.conf"
    config.write_text(
        MAIN.format(
            folder=folder,
            port=port,
            files=certificates.self_signed(folder),
            beside=beside,
            location=location.replace(OURS, f"{behind}/"),
        )
    )
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert program is not None, "nginx is not installed; deploy/install-test-packages.sh does it"
    async with until_listening(port, program, "-p", str(folder), "-c", str(config)):
        yield f"https://127.0.0.1:{port}{PREFIX}/"


async def test_the_page_and_whep_under_a_prefix(tmp_path: Path) -> None:
    async with (
        gst_camera(gop=25) as camera,
        running_system({"gate": {"url": camera.ready}}) as system,
        nginx(tmp_path / "nginx", system.url) as url,
        chromium() as browser,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as http,
    ):
        await system.until_live("gate")

        viewer = Viewer()
        try:
            resource = await whep(http, f"{url}whep/gate", viewer)
            assert urlsplit(resource.url).path.startswith(f"{PREFIX}/whep/gate/")
            await viewer.until(lambda: viewer.reception.packets > 50)
            headers = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": resource.etag}
            async with http.patch(resource.url, data="a=end-of-candidates\r\n", headers=headers) as response:
                assert response.status == 204
            async with http.delete(resource.url) as response:
                assert response.status == 200
            await viewer.until(lambda: viewer.closed_by_peer)
        finally:
            viewer.close()

        page = await browser.new_page(ignore_https_errors=True)
        shown = ViewerPage(page)
        sockets: list[str] = []
        page.on("websocket", lambda socket: sockets.append(socket.url))
        failed: list[str] = []
        page.on("requestfailed", lambda request: failed.append(request.url))
        page.on("response", lambda response: failed.append(response.url) if response.status >= 400 else None)
        await page.goto(url)
        facts = await shown.until_playing(25)
        assert facts["camera"] == "gate" and facts["lost"] == 0
        assert sockets == [f"{url.replace('https', 'wss')}ws"]
        assert not failed and not shown.errors

        async with http.get(f"{url}login") as response:
            assert response.status == 200
            assert response.headers["X-Frame-Options"] == "DENY"
            assert len(response.headers.getall("Content-Security-Policy")) == 1


async def test_events_are_not_held_back(tmp_path: Path) -> None:
    async with (
        running_system({"gate": {"url": "rtsp://127.0.0.1:9/nothing"}}) as system,
        nginx(tmp_path / "nginx", system.url) as url,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as http,
        asyncio.timeout(20),
        http.get(f"{url}api/v1/events") as response,
    ):
        assert response.content_type == "text/event-stream"
        async for line in response.content:
            if line.startswith(b"data:") and b"gate" in line:
                break
