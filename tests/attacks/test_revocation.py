"""Whoever loses a right stops seeing within a second, by every way; `pytest -s` prints the table."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise

import aiohttp
import pytest
import yaml

from signaling.websocket import UNAUTHORIZED
from tests.attacks.people import Headers, auth, cookie_of, link_to, password_of, token
from tests.support.processes import gst_camera
from tests.support.system import System, running_system
from tests.support.viewer import Viewer
from tests.support.viewer_carriers import whep

pytestmark = pytest.mark.peers

ANY = {"If-Match": "*"}
WITHIN_S = 1.0
QUIET_S = 0.3
USERS = ("changed", "narrowed", "leaving", "kicked")


class People:
    """An admin who revokes, and viewers who play by what is revoked."""

    def __init__(self, system: System, admin: aiohttp.ClientSession) -> None:
        self.system = system
        self.admin = admin
        self.rows: list[tuple[str, float]] = []

    async def play(self, headers: Headers) -> Viewer:
        """Somebody with these credentials sees `front`."""
        viewer = Viewer()
        async with aiohttp.ClientSession(headers=headers) as client:
            await whep(client, f"{self.system.url}/whep/front", viewer)
        await viewer.until(lambda: viewer.reception.units > 5)
        return viewer

    async def ask(self, method: str, path: str, headers: Headers | None = None, **more: object) -> None:
        """As the admin, unless other credentials are given."""
        url = f"{self.system.url}/api/v1/{path}"
        async with self.admin.request(method, url, headers=headers, **more) as response:  # type: ignore[arg-type]
            assert response.status in (200, 204), await response.text()

    async def live(self) -> bool:
        """True when a viewer of `front` would see it at once."""
        async with self.admin.get(f"{self.system.url}/api/v1/cameras") as response:
            return [camera["state"] for camera in await response.json()] == ["live", "live"]

    async def session_of(self, user: str) -> str:
        """The beginning of its id."""
        async with self.admin.get(f"{self.system.url}/api/v1/sessions") as response:
            sessions = (await response.json())["sessions"]
        return next(str(each["session"]) for each in sessions if each["viewer"] == user)

    async def ends(
        self,
        name: str,
        viewer: Viewer,
        revoke: Callable[[], Awaitable[None]],
        due_at: float | None = None,
    ) -> None:
        """From the wish, or from when it is due (UTC), to the end of the picture; nothing comes after it."""
        began_at = due_at or time.time()
        await revoke()
        await viewer.until(lambda: viewer.closed_by_peer)
        self.rows.append((name, time.time() - began_at))
        await asyncio.sleep(QUIET_S)
        seen = viewer.reception.packets
        await asyncio.sleep(QUIET_S)
        assert viewer.reception.packets == seen
        viewer.close()


async def until_over(socket: aiohttp.ClientWebSocketResponse) -> float:
    """When the server closed it, UTC."""
    async for _ in socket:
        pass
    assert socket.close_code == UNAUTHORIZED
    return time.time()


async def until_silent(events: aiohttp.ClientResponse) -> float:
    """The same of a stream of events."""
    async for _ in events.content:
        pass
    return time.time()


async def a_removed_user(people: People) -> None:
    """Picture, WebSocket and events."""
    cookie = await cookie_of(people.system, "removed")
    viewer = await people.play(cookie)
    url = people.system.url
    async with (
        aiohttp.ClientSession(headers=cookie) as client,
        client.ws_connect(f"{url}/ws") as socket,
        client.get(f"{url}/api/v1/events") as events,
    ):
        began_at = time.time()
        others = [asyncio.ensure_future(until_over(socket)), asyncio.ensure_future(until_silent(events))]
        await people.ends("a user is removed", viewer, lambda: people.ask("DELETE", "users/removed", ANY))
        for what, ended_at in zip(("WebSocket", "events"), await asyncio.gather(*others), strict=True):
            people.rows.append((f"a user is removed: {what}", ended_at - began_at))


async def other_users(people: People) -> None:
    cookies = {user: await cookie_of(people.system, user) for user in USERS}
    viewers = {user: await people.play(cookie) for user, cookie in cookies.items()}
    any_state = {"If-Match": "*"}
    changed = {"role": "viewer", "cameras": ["front"], "password": password_of("nobody")}
    narrowed = {"role": "viewer", "cameras": ["yard"]}
    kicked = await people.session_of("kicked")
    for user, name, revoke in (
        (
            "changed",
            "a password is changed",
            lambda: people.ask("PUT", "users/changed", any_state, json=changed),
        ),
        (
            "narrowed",
            "a camera is taken from a user",
            lambda: people.ask("PUT", "users/narrowed", any_state, json=narrowed),
        ),
        ("leaving", "somebody logs out", lambda: people.ask("POST", "logout", cookies["leaving"])),
        ("kicked", "a session is ended by an operator", lambda: people.ask("DELETE", f"sessions/{kicked}")),
    ):
        await people.ends(name, viewers[user], revoke)


async def links_and_tokens(people: People) -> None:
    number, link = await link_to(people.system, "front")
    viewer = await people.play(link)
    await people.ends("a link is revoked", viewer, lambda: people.ask("DELETE", f"links/{number}"))

    ends_at = int(time.time()) + 4
    viewer = await people.play(token(sub="tv", role="viewer", cameras=["front"], exp=ends_at))
    await people.ends("a token expires", viewer, lambda: asyncio.sleep(ends_at - time.time()), ends_at)

    viewer = await people.play(token(sub="tv", role="viewer", cameras=["front"]))

    async def another_key() -> None:
        path = people.system.run_folder.parent / "config.yaml"
        content = yaml.safe_load(path.read_text())
        content["auth"]["jwt"]["key"] += " is another one now"
        path.write_text(yaml.safe_dump(content))
        await people.ask("POST", "configuration/reload")

    await people.ends("the key of tokens is changed in the file", viewer, another_key)


async def test_what_is_revoked_ends_within_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    async with (
        gst_camera(width=320, height=180, gop=25) as camera,
        running_system(
            {name: {"url": camera.ready} for name in ("front", "yard")},
            more={"auth": auth(*USERS, "removed")},
        ) as system,
        aiohttp.ClientSession(headers=await cookie_of(system, "anna")) as admin,
    ):
        people = People(system, admin)
        await system.until(people.live)
        other = await people.play(await cookie_of(system, "anna"))
        other.reception.arrivals = arrivals = []
        for each in (a_removed_user, other_users, links_and_tokens):
            await each(people)
        other.close()
        gap_s = max(b.received_ns - a.received_ns for a, b in pairwise(arrivals)) / 1e9
    width = max(len(name) for name, _ in people.rows)
    with capsys.disabled():
        print("\nover after, in seconds")
        print("\n".join(f"{name:{width}}  {took_s:.2f}" for name, took_s in people.rows))
        print(f"{'longest time between two pictures of another viewer':{width}}  {gap_s:.2f}")
    assert max(took_s for _, took_s in people.rows) <= WITHIN_S
    assert other.totals().lost == 0
