"""The ways by which Chromium reaches a worker: ICE-TCP, IPv6, TURN, and an address that changes meanwhile."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.support.browser import chromium
from tests.support.coturn import HOST, PASSWORD, USERNAME, coturn
from tests.support.link_watch import HIDDEN_PORT, Look, WatchedPage, only_candidates, open_watched
from tests.support.media_relay import media_relay, redirect_script
from tests.support.processes import gst_camera
from tests.support.system import System, running_system

pytestmark = pytest.mark.peers

FRAMES = 50


@contextlib.asynccontextmanager
async def watched(media: Mapping[str, object] | None = None) -> AsyncIterator[tuple[System, Browser]]:
    """A camera `gate`, the system, and Chromium."""
    async with (
        gst_camera(gop=25) as camera,
        running_system({"gate": {"url": camera.ready}}, media=media) as system,
        chromium() as browser,
    ):
        await system.until_live("gate")
        yield system, browser


async def path_of(system: System, viewer: WatchedPage) -> str:
    """The viewer's path as the API shows it."""
    return str((await system.session((await viewer.facts())["session"]))["path"])


async def plays(viewer: WatchedPage) -> Look:
    """Waits for pictures in the first session; gives the statistics."""
    facts = await viewer.until_playing(FRAMES)
    assert facts["reconnects"] == 0
    return await viewer.look()


async def test_where_udp_is_blocked_it_plays_over_tcp() -> None:
    async with watched() as (system, browser):
        viewer = await open_watched(browser, system.url, only_candidates(" tcp "))
        look = await plays(viewer)
        assert look.remote["protocol"] == "tcp"
        assert (await path_of(system, viewer)).startswith("tcp ")


async def test_over_ipv6() -> None:
    async with watched({"advertise": ["127.0.0.1", "::1"]}) as (system, browser):
        viewer = await open_watched(browser, system.url, only_candidates(" ::1 "))
        look = await plays(viewer)
        assert (look.remote["address"], look.remote["protocol"]) == ("::1", "udp")
        assert (await path_of(system, viewer)).startswith("udp [::1]:")


async def test_a_viewer_that_its_nat_gives_a_new_port_goes_on() -> None:
    async with watched() as (system, browser), media_relay(system.media_port) as relay:
        viewer = await open_watched(browser, system.url, redirect_script(relay.port))
        await plays(viewer)
        before, path = await viewer.facts(), await path_of(system, viewer)
        await relay.rebind()

        async def moved() -> bool:
            return await path_of(system, viewer) != path

        await system.until(moved)
        facts = await viewer.until_playing((await viewer.facts())["framesDecoded"] + FRAMES)
        assert facts["session"] == before["session"] and facts["reconnects"] == 0


async def test_full_ice_directly_and_through_turn(tmp_path: Path) -> None:
    async with coturn(tmp_path) as port:
        server = {"url": f"turn:{HOST}:{port}?transport=udp", "username": USERNAME, "password": PASSWORD}
        async with watched({"ice": "full", "ice_servers": [server]}) as (system, browser):
            viewer = await open_watched(browser, system.url)
            assert (await plays(viewer)).remote["candidateType"] in ("host", "prflx")
            assert (await path_of(system, viewer)).startswith("udp ")
            await viewer.page.close()
            viewer = await open_watched(browser, system.url, HIDDEN_PORT, only_candidates(" typ relay "))
            assert (await plays(viewer)).remote["candidateType"] == "relay"
            assert (await path_of(system, viewer)).startswith("relayed ")
