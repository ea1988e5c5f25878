"""Attacks and their answers, against the real system while somebody watches; `pytest -s` prints the table."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from argon2 import PasswordHasher

from tests.attacks import raw
from tests.attacks.forgeries import AUDIENCE, ISSUER, forgeries, signed
from tests.support.ports import free_tcp_port
from tests.support.processes import simulated_camera
from tests.support.system import System, running_system
from tests.support.viewer import Viewer
from tests.support.viewer_carriers import whep

pytestmark = pytest.mark.peers

KEY = "the secret that tokens are signed with, of more octets than sixty-four"
PASSWORDS = {"anna": "s3cret-of-anna", "vera": "s3cret-of-vera"}
CAMERA_PASSWORD = "s3cret-of-the-camera"
CHEAP = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
OFFERS = 1000
Headers = dict[str, str]


def auth() -> dict[str, Any]:
    return {
        "users": {
            "anna": {"role": "admin", "password": CHEAP.hash(PASSWORDS["anna"])},
            "vera": {"role": "viewer", "cameras": ["front"], "password": CHEAP.hash(PASSWORDS["vera"])},
        },
        "jwt": {"algorithms": ["HS256"], "key": KEY, "audience": AUDIENCE, "issuer": ISSUER},
    }


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


async def cookie_of(system: System, user: str) -> Headers:
    async with (
        aiohttp.ClientSession() as client,
        client.post(
            f"{system.url}/api/v1/login", json={"user": user, "password": PASSWORDS[user]}
        ) as response,
    ):
        assert response.status == 204, await response.text()
        return {"Cookie": response.headers["Set-Cookie"].partition(";")[0]}


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
    for name, token in forgeries(KEY):
        headers = {"Authorization": f"Bearer {token}"}
        await attacks.ask(f"JWT: {name}", "GET", "/api/v1/me", {401}, headers)
    good = signed(KEY)
    await attacks.ask("JWT in the query", "GET", f"/api/v1/me?token={good}", {401})
    assert await attacks.status("GET", "/api/v1/me", {"Authorization": f"Bearer {good}"}) == 200


async def a_viewer_reaching_further(attacks: Attacks, other_session: str) -> None:
    vera = await cookie_of(attacks.system, "vera")
    link = {"Authorization": "Bearer view-" + "A" * 43}
    for method, path, right in (
        ("POST", "/whep/hidden", {404}),
        ("GET", "/api/v1/cameras/hidden/report", {404}),
        ("GET", "/api/v1/cameras/hidden/snapshot", {404}),
        ("GET", "/api/v1/cameras/front", {403}),
        ("GET", "/api/v1/sessions", {403}),
        ("DELETE", f"/api/v1/sessions/{other_session[:6]}", {403}),
        ("DELETE", f"/whep/front/{other_session}", {404}),
        ("PATCH", f"/whep/front/{other_session}", {400, 404, 415, 428}),
        ("POST", "/api/v1/workers/fanout-0/drain", {403}),
        ("PUT", "/api/v1/users/vera", {403}),
        ("POST", "/api/v1/links", {403}),
        ("GET", "/metrics", {403}),
    ):
        shown = path.replace(other_session, "ID").replace(other_session[:6], "ID")
        await attacks.ask(f"a viewer: {method} {shown}", method, path, right, vera)
    await attacks.ask("a guessed link", "GET", "/api/v1/me", {401}, link)
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


async def guesses(attacks: Attacks) -> None:
    statuses = Counter[int]()
    for number in range(100):
        body = {"user": "vera", "password": f"guess{number}"}
        statuses[await attacks.status("POST", "/api/v1/login", json=body)] += 1
    attacks.note("100 guessed passwords", statuses, {401, 429})
    assert statuses[429] >= 85
    anna = {"Authorization": f"Bearer {signed(KEY)}"}
    statuses = Counter[int]()
    for _ in range(100):
        session = "".join(random.choices("abcdefghijklmnopqrstuvwxyz0123456789-_", k=22))
        statuses[await attacks.status("DELETE", f"/whep/front/{session}", anna)] += 1
    attacks.note("100 guessed session ids", statuses, {404})


async def paths_and_bodies(attacks: Attacks) -> None:
    url = attacks.system.url
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
        answer = await raw.get(url, target)
        attacks.note(f"path {target}", Counter([answer.status]), {400, 401, 404, 405})
        assert b"root:" not in answer.body
    anna = {"Authorization": f"Bearer {signed(KEY)}"}
    for name in ("a%0d%0aX-Evil:%201", "%0aSet-Cookie:a=b", "<script>", "a" * 300):
        answer = await raw.get(url, f"/api/v1/cameras/{name}/report")
        attacks.note(f"camera {name[:24]}", Counter([answer.status]), {400, 401, 404})
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
    anna = {"Authorization": f"Bearer {signed(KEY)}"}
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
            async with asyncio.timeout(5):
                while True:
                    said = json.loads((await socket.receive()).data)
                    if said["type"] == "error":
                        break
            errors[int(said["status"])] += 1
    attacks.note("100 messages of noise over the WebSocket", errors, {400, 404, 422, 429})


async def many_offers(attacks: Attacks) -> None:
    anna = {"Authorization": f"Bearer {signed(KEY)}", "Content-Type": "application/sdp"}
    places = asyncio.Semaphore(20)

    async def offer(number: int) -> int:
        async with places:
            return await attacks.status("POST", f"/whep/nobody{number}", anna, data="v=0\r\n")

    statuses = Counter(await asyncio.gather(*(offer(number) for number in range(OFFERS))))
    attacks.note(f"{OFFERS} offers for cameras that are not there", statuses, {400, 404, 429})


def no_secret_is_told(system: System, bodies: list[str]) -> None:
    """Neither in answers, logs nor process titles, nor in files that others may read."""
    secrets = [*PASSWORDS.values(), CAMERA_PASSWORD, KEY, "$argon2"]
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
            running_system(cameras, more={"auth": auth()}) as system,
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client,
        ):
            attacks = Attacks(system, client)
            token = {"Authorization": f"Bearer {signed(KEY)}"}

            async def live() -> bool:
                async with client.get(f"{system.url}/api/v1/cameras", headers=token) as response:
                    return [each["state"] for each in await response.json()] == ["live", "live"]

            async def ready() -> bool:
                async with client.get(f"{system.url}/readyz") as response:
                    return response.status == 200

            await system.until(live)
            await system.until(ready)
            watching = Viewer()
            async with aiohttp.ClientSession(headers=token) as owner:
                resource = await whep(owner, f"{system.url}/whep/front", watching)
            await watching.until(lambda: watching.reception.units > 10)
            rounds: list[Callable[[], Awaitable[None]]] = [
                lambda: without_a_login(attacks),
                lambda: forged_tokens(attacks),
                lambda: a_viewer_reaching_further(attacks, resource.url.rpartition("/")[2]),
                lambda: paths_and_bodies(attacks),
                lambda: a_socket_of_noise(attacks),
                lambda: many_offers(attacks),
                lambda: guesses(attacks),
            ]
            for attack in rounds:
                await attack()
            async with client.get(f"{system.url}/metrics", headers=token) as response:
                attacks.bodies.append(await response.text())
            seen = watching.reception.units
            await watching.until(lambda: watching.reception.units > seen + 10)
            assert watching.totals().lost == 0
            watching.close()
            no_secret_is_told(system, attacks.bodies)
    with capsys.disabled():
        width = max(len(name) for name, _ in attacks.rows)
        print("\n" + "\n".join(f"{name:{width}}  {said}" for name, said in attacks.rows))
        print("somebody watched meanwhile: 0 packets lost")
