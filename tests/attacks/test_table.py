"""Attacks and their answers, against the real system while somebody watches; `pytest -s` prints the table."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from tests.attacks import raw
from tests.attacks.forgeries import forgeries, signed
from tests.attacks.people import KEY, Headers, auth, cookie_of, link_to, password_of, token
from tests.support.ports import free_tcp_port
from tests.support.processes import simulated_camera
from tests.support.system import System, running_system
from tests.support.viewer import Viewer
from tests.support.viewer_carriers import whep

pytestmark = pytest.mark.peers

CAMERA_PASSWORD = "s3cret-of-the-camera"
OFFERS = 1000
WORST_GAP_S = 1.0
"Of a viewer meanwhile: nothing is lost, but two cores have all of this to do."


class Attacks:
    """Asks, compares with the statuses that are right, and keeps a row of each."""

    def __init__(self, system: System, client: aiohttp.ClientSession) -> None:
        self.system = system
        self.client = client
        self.rows: list[tuple[str, str]] = []
        self.bodies: list[str] = []

    def note(self, name: str, statuses: Counter[int], right: set[int]) -> None:
        said = ", ".join(f"{status or 'closed'} x {count}" for status, count in sorted(statuses.items()))
        self.rows.append((name, said))
        assert statuses.keys() <= right, (name, statuses, right)

    async def ask(
        self, name: str, method: str, path: str, right: set[int], headers: Headers | None = None, **more: Any
    ) -> int:
        status = await self.status(method, path, headers, **more)
        self.note(name, Counter([status]), right)
        return status

    async def status(self, method: str, path: str, headers: Headers | None = None, **more: Any) -> int:
        async with self.client.request(method, self.system.url + path, headers=headers, **more) as response:
            self.bodies.append(await response.text(errors="replace"))
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            return response.status


async def without_a_login(attacks: Attacks) -> None:
    for method, path in (
        ("POST", "/whep/front"),
        ("GET", "/ws"),
        ("GET", "/api/v1/cameras"),
        ("GET", "/api/v1/events"),
        ("GET", "/api/v1/cameras/front/snapshot"),
        ("GET", "/metrics"),
        ("PUT", "/api/v1/cameras/evil"),
    ):
        await attacks.ask(f"nobody: {method} {path}", method, path, {401})
    for header in ("X-Remote-User", "X-Forwarded-User", "X-Forwarded-For", "Forwarded"):
        value = "for=127.0.0.1" if header == "Forwarded" else "anna"
        await attacks.ask(f"{header}: {value}", "GET", "/api/v1/me", {401}, {header: value})


async def forged_tokens(attacks: Attacks) -> None:
    for name, forged in forgeries(KEY):
        headers = {"Authorization": f"Bearer {forged}"}
        await attacks.ask(f"JWT: {name}", "GET", "/api/v1/me", {401}, headers)
    good = signed(KEY)
    await attacks.ask("JWT in the query", "GET", f"/api/v1/me?token={good}", {401})
    assert await attacks.status("GET", "/api/v1/me", {"Authorization": f"Bearer {good}"}) == 200


async def viewers_reaching_further(attacks: Attacks, other_session: str) -> None:
    system = attacks.system
    _, link = await link_to(system, "front")
    for who, headers in (
        ("a viewer's login", await cookie_of(system, "vera")),
        ("a viewer's token", token(sub="tv", role="viewer", cameras=["front"])),
        ("a link", link),
    ):
        assert await attacks.status("GET", "/api/v1/cameras/front/report", headers) == 200
        for method, path, right in (
            ("POST", "/whep/hidden", 404),
            ("GET", "/api/v1/cameras/hidden/report", 404),
            ("GET", "/api/v1/cameras/hidden/snapshot", 404),
            ("GET", "/api/v1/cameras/front", 403),
            ("GET", "/api/v1/sessions", 403),
            ("DELETE", f"/api/v1/sessions/{other_session[:6]}", 403),
            ("DELETE", f"/whep/front/{other_session}", 404),
            ("PATCH", f"/whep/front/{other_session}", 404),
            ("POST", "/api/v1/workers/fanout-0/drain", 403),
            ("PUT", "/api/v1/users/vera", 403),
            ("POST", "/api/v1/links", 403),
            ("GET", "/metrics", 403),
        ):
            shown = path.replace(other_session, "ID").replace(other_session[:6], "ID")
            await attacks.ask(f"{who}: {method} {shown}", method, path, {right}, headers)
        for command in (
            {"type": "attach"},
            {"type": "select", "quality": "keyframes"},
            {"type": "candidate", "candidate": "a=end-of-candidates\r\n"},
            {"type": "close"},
        ):
            async with attacks.client.ws_connect(f"{system.url}/ws", headers=headers) as socket:
                await socket.send_json({**command, "session": other_session, "id": 1})
                status = await error_of(socket)
            attacks.note(f"{who}: {command['type']} another's session by WebSocket", Counter([status]), {404})
    guessed = {"Authorization": "Bearer view-" + "A" * 43}
    await attacks.ask("a guessed link", "GET", "/api/v1/me", {401}, guessed)
    anna = await cookie_of(attacks.system, "anna")
    for origin in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        await attacks.ask(
            f"an admin's browser on another site, {next(iter(origin))}",
            "DELETE",
            "/api/v1/cameras/front",
            {403},
            {**anna, **origin},
        )
    await attacks.ask(
        "a WebSocket from a page of another site",
        "GET",
        "/ws",
        {403},
        {**anna, "Origin": "https://evil.example", "Upgrade": "websocket", "Connection": "Upgrade"},
    )


async def error_of(socket: aiohttp.ClientWebSocketResponse) -> int:
    """Status of the next error; camera events may come before it."""
    async with asyncio.timeout(5):
        while True:
            said = json.loads((await socket.receive()).data)
            if said["type"] == "error":
                return int(said["status"])


async def guesses(attacks: Attacks) -> None:
    statuses = Counter[int]()
    for number in range(100):
        body = {"user": "vera", "password": f"guess{number}"}
        statuses[await attacks.status("POST", "/api/v1/login", json=body)] += 1
    attacks.note("100 guessed passwords", statuses, {401, 429})
    assert statuses[429] >= 85
    anna = token()
    statuses = Counter[int]()
    for _ in range(100):
        session = "".join(random.choices("abcdefghijklmnopqrstuvwxyz0123456789-_", k=22))
        statuses[await attacks.status("DELETE", f"/whep/front/{session}", anna)] += 1
    attacks.note("100 guessed session ids", statuses, {404})


async def paths_and_bodies(attacks: Attacks) -> None:
    url, anna = attacks.system.url, token()
    for target in (
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc/passwd",
        "//etc/passwd",
        "/style.css/../../app.py",
        "/\\..\\..\\etc\\passwd",
        "/%00",
        "/whep/%2e%2e%2fapi",
    ):
        answer = await raw.ask(url, target, anna)
        attacks.note(f"path {target}", Counter([answer.status]), {400, 404, 405})
        assert b"root:" not in answer.body
    for name in ("a%0d%0aX-Evil:%201", "%0aSet-Cookie:a=b", "<script>", "a" * 300):
        for method, path, kind, body in (
            ("GET", f"/api/v1/cameras/{name}/report", "text/plain", ""),
            ("POST", f"/whep/{name}", "application/sdp", any_offer()),
            ("PUT", f"/api/v1/cameras/{name}", "application/json", '{"url": "rtsp://127.0.0.1/"}'),
        ):
            headers = {**anna, "Content-Type": kind, "If-None-Match": "*"}
            answer = await raw.ask(url, path, headers, method, body.encode())
            attacks.note(f"{method} of camera {name[:24]}", Counter([answer.status]), {400, 404, 422})
            assert "x-evil" not in answer.headers and "set-cookie" not in answer.headers
    for kind, path, method in (
        ("application/sdp", "/whep/front", "POST"),
        ("application/json", "/api/v1/cameras/new", "PUT"),
        ("application/json", "/api/v1/login", "POST"),
    ):
        headers = {**anna, "Content-Type": kind, "If-None-Match": "*"}
        await attacks.ask(f"900 kB to {path}", method, path, {413}, headers, data=b"x" * 900_000)
        headers["Content-Encoding"] = "gzip"
        await attacks.ask(f"compressed to {path}", method, path, {415}, headers, data=b"\x1f\x8b" + b"x" * 50)
    dice = random.Random(7)
    for kind, path, method, right in (
        ("application/sdp", "/whep/front", "POST", {400, 406}),
        ("application/json", "/api/v1/cameras/new", "PUT", {400, 422}),
        ("application/json", "/api/v1/links", "POST", {400, 422}),
    ):
        statuses = Counter[int]()
        for _ in range(60):
            body = dice.randbytes(dice.randrange(1, 300))
            headers = {**anna, "Content-Type": kind, "If-None-Match": "*"}
            statuses[await attacks.status(method, path, headers, data=body)] += 1
        attacks.note(f"60 bodies of noise to {path}", statuses, right)


async def a_socket_of_noise(attacks: Attacks) -> None:
    anna = token()
    dice = random.Random(11)
    errors = Counter[int]()
    async with attacks.client.ws_connect(f"{attacks.system.url}/ws", headers=anna) as socket:
        for number in range(100):
            message: object = dice.choice(
                [
                    {"type": dice.choice(["offer", "attach", "select", "close", "x"]), "id": number},
                    {"type": "offer", "camera": "front", "sdp": "v=0\r\n" + "a" * 100, "id": number},
                    {"type": ["offer"], "id": {}},
                    [number],
                    "text",
                ]
            )
            await socket.send_str(json.dumps(message) if dice.random() < 0.8 else dice.randbytes(40).hex())
            errors[await error_of(socket)] += 1
    attacks.note("100 messages of noise over the WebSocket", errors, {400, 404, 422, 429})


def any_offer() -> str:
    """A good one; nobody waits for its answer."""
    viewer = Viewer()
    viewer.close()
    return viewer.offer(with_candidate=False)


async def many_offers(attacks: Attacks) -> None:
    headers = {**token(), "Content-Type": "application/sdp"}
    places = asyncio.Semaphore(20)
    sdp = any_offer()

    async def offer() -> int:
        async with places:
            return await attacks.status("POST", "/whep/nobody", headers, data=sdp)

    began_s = time.monotonic()
    statuses = Counter(await asyncio.gather(*(offer() for _ in range(OFFERS))))
    rate = OFFERS / (time.monotonic() - began_s)
    attacks.note(f"{OFFERS} offers for an unknown camera, {rate:,.0f} a second", statuses, {404})


async def all_that_is_told(attacks: Attacks) -> None:
    """What an admin may read, for `no_secret_is_told`."""
    for path in (
        *("/", "/login", "/metrics", "/api/v1/", "/api/v1/openapi.json"),
        *("/api/v1/cameras", "/api/v1/cameras/front", "/api/v1/cameras/front/report"),
        *("/api/v1/users", "/api/v1/users/vera", "/api/v1/links", "/api/v1/me"),
        *("/api/v1/sessions", "/api/v1/workers", "/api/v1/configuration", "/api/v1/ice-servers"),
    ):
        assert await attacks.status("GET", path, token()) == 200, path
    headers = {**token(), "Last-Event-ID": "0"}
    async with attacks.client.get(f"{attacks.system.url}/api/v1/events", headers=headers) as events:
        attacks.bodies.append((await events.content.readuntil(b"\n\n")).decode())
        async with asyncio.timeout(5):
            while b"data:" not in (event := await events.content.readuntil(b"\n\n")):
                pass
        attacks.bodies.append(event.decode())


def no_secret_is_told(system: System, bodies: list[str]) -> None:
    """Neither in answers, logs nor process titles, nor in files that others may read."""
    secrets = [password_of("anna"), password_of("vera"), CAMERA_PASSWORD, KEY, "$argon2"]
    family = psutil.Process(psutil.Process(system.pid("signaling")).ppid()).children(recursive=True)
    places = {
        "answers": "\n".join(bodies),
        "log": system.log_text(),
        "titles": "\n".join(" ".join(child.cmdline()) for child in family),
        "audit": (system.run_folder / "state" / "audit.log").read_text(),
    }
    files = [path for path in system.run_folder.rglob("*") if path.is_file()]
    places |= {str(path): _text(path) for path in files if path.stat().st_mode & 0o077}
    for place, text in places.items():
        for secret in secrets:
            assert secret not in text, (place, secret)


def _text(path: Path) -> str:
    return path.read_text(errors="replace")


async def test_attacks(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_tcp_port()
    async with simulated_camera(port, user="cam", password=CAMERA_PASSWORD) as url:
        url = url.replace("rtsp://", f"rtsp://cam:{CAMERA_PASSWORD}@")
        cameras = {name: {"url": url} for name in ("front", "hidden")}
        async with (
            running_system(cameras, more={"auth": auth("vera")}) as system,
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client,
        ):
            attacks = Attacks(system, client)
            admin = token()

            async def live() -> bool:
                async with client.get(f"{system.url}/api/v1/cameras", headers=admin) as response:
                    return [each["state"] for each in await response.json()] == ["live", "live"]

            async def ready() -> bool:
                async with client.get(f"{system.url}/readyz") as response:
                    return response.status == 200

            await system.until(live)
            await system.until(ready)
            watching = Viewer()
            async with aiohttp.ClientSession(headers=admin) as owner:
                resource = await whep(owner, f"{system.url}/whep/front", watching)
            await watching.until(lambda: watching.reception.units > 10)
            arrivals = watching.reception.arrivals = []
            rounds: list[Callable[[], Awaitable[None]]] = [
                lambda: without_a_login(attacks),
                lambda: forged_tokens(attacks),
                lambda: viewers_reaching_further(attacks, resource.url.rpartition("/")[2]),
                lambda: paths_and_bodies(attacks),
                lambda: a_socket_of_noise(attacks),
                lambda: many_offers(attacks),
                lambda: guesses(attacks),
            ]
            for attack in rounds:
                await attack()
            await all_that_is_told(attacks)
            seen = watching.reception.units
            await watching.until(lambda: watching.reception.units > seen + 10)
            assert watching.totals().lost == 0
            watching.close()
            gap_s = max(b.received_ns - a.received_ns for a, b in pairwise(arrivals)) / 1e9
            assert gap_s <= WORST_GAP_S
            no_secret_is_told(system, attacks.bodies)
    with capsys.disabled():
        width = max(len(name) for name, _ in attacks.rows)
        print("\n" + "\n".join(f"{name:{width}}  {said}" for name, said in attacks.rows))
        print(f"somebody watched meanwhile: 0 of {watching.totals().packets} packets lost, ", end="")
        print(f"the longest time between two of {len(arrivals)} pictures {1000 * gap_s:.0f} ms")
