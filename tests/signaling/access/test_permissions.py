"""The permission matrix: every route for everybody, with cameras that are seen, hidden or not there."""

import re
import time
from pathlib import Path

import jwt as pyjwt
import pytest
from aiohttp import ClientSession
from signaling_support import System

from access.support import EVERYBODY, authority, configured, serving
from common.access_config import AuthConfig, JwtConfig, SignalingConfig
from signaling.access.authority import Authority
from signaling.access.gate import wanted
from signaling.access.permissions import ROUTES
from signaling.app import create_app
from signaling.pages import PAGES_PUBLIC

SECRET = "x" * 40
USERS = configured(*EVERYBODY, jwt=JwtConfig(("HS256",), "cctv3", key=SECRET))
CAMERAS = ("front", "hidden", "missing")
RANK = {"viewer": 0, "operator": 1, "admin": 2}
NEVER_FINISHED = ("/api/v1/events", "/ws")
"They go on for as long as the client stays; who may not is told before."

SEES: dict[str, tuple[str, set[str]] | None] = {
    "nobody": None,
    "forged": None,
    "link": ("viewer", {"front"}),
    "blind": ("viewer", set()),
    "viewer": ("viewer", {"front"}),
    "all": ("viewer", set(CAMERAS)),
    "operator": ("operator", {"front"}),
    "admin": ("admin", set(CAMERAS)),
}
"Role and cameras of each, of those the test asks for."

MODES = {
    "loopback": (SignalingConfig(), True),
    "none": (SignalingConfig(auth=AuthConfig("none")), True),
    "beyond": (SignalingConfig(auth=AuthConfig("none")), False),
}
"Where nobody logs in."


LISTED = {
    "public": """GET /healthz, GET /readyz, GET /view, GET /api/v1/openapi.json, GET /api/v1/,
        POST /api/v1/login, POST /api/v1/logout""",
    "viewer": """GET /ws, GET /api/v1/me, GET /api/v1/cameras, GET /api/v1/events, GET /api/v1/ice-servers""",
    "viewer of the camera": """POST /whep/{camera}, OPTIONS /whep/{camera}, PATCH /whep/{camera}/{session},
        DELETE /whep/{camera}/{session}, OPTIONS /whep/{camera}/{session},
        GET /api/v1/cameras/{camera}/report, GET /api/v1/cameras/{camera}/snapshot""",
    "operator": """GET /metrics, GET /api/v1/sessions, DELETE /api/v1/sessions/{session}, GET /api/v1/workers,
        POST /api/v1/workers/{worker}/drain, DELETE /api/v1/workers/{worker}/drain,
        GET /api/v1/configuration""",
    "admin": """PUT /api/v1/cameras/{camera}, GET /api/v1/users, GET /api/v1/users/{user},
        PUT /api/v1/users/{user}, DELETE /api/v1/users/{user}, GET /api/v1/links, POST /api/v1/links,
        DELETE /api/v1/links/{link}, POST /api/v1/configuration/reload, POST /api/v1/probe,
        GET /api/v1/cameras-order, PUT /api/v1/cameras-order""",
    "admin of the camera": "GET /api/v1/cameras/{camera}, DELETE /api/v1/cameras/{camera}",
}
"Written down once more: the matrix below goes by `ROUTES`, and would follow it into an error."


def bearer(**claims: object) -> dict[str, str]:
    content = {"sub": "t", "aud": "cctv3", "exp": int(time.time()) + 60, **claims}
    return {"Authorization": f"Bearer {pyjwt.encode(content, SECRET, 'HS256')}"}


def headers_of(own: Authority) -> dict[str, dict[str, str]]:
    link, _ = own.links.create("front", 3600, "anna", "")
    return {
        "nobody": {},
        "forged": {"Authorization": "Bearer rubbish", "Cookie": "cctv3=rubbish"},
        "link": {"Authorization": f"Bearer {link}"},
        "blind": bearer(cameras=["elsewhere*", "FRONT"]),
        "viewer": bearer(cameras=["fr*"]),
        "all": bearer(cameras=["*"]),
        "operator": bearer(role="operator", cameras=["front"]),
        "admin": bearer(role="admin"),
    }


def served(method: str, path: str) -> int:
    """What the test's application answers to those who may, as nothing is sent with the request."""
    match method, path:
        case ("POST", "/api/v1/login" | "/api/v1/links"):
            return 415
        case ("POST", "/api/v1/logout"):
            return 204
        case ("GET", "/view"):
            return 401
        case ("DELETE", "/api/v1/links/{link}"):
            return 404
    return 200


def refused(who: str, method: str, path: str, camera: str) -> int | None:
    """The status by which the gate refuses; None when it does not."""
    want, sees = ROUTES[method, path], SEES[who]
    if want.need == "public":
        return None
    if sees is None:
        return 401
    if RANK[sees[0]] < RANK[want.need]:
        return 403
    return 404 if want.camera and camera not in sees[1] else None


def cells() -> list[tuple[str, str, str]]:
    """Every route, with each camera where it names one."""
    return [
        (method, path, camera)
        for method, path in ROUTES
        for camera in (CAMERAS if "{camera}" in path else CAMERAS[:1])
    ]


def url(path: str, camera: str) -> str:
    return path.format(camera=camera, session="abcdef", worker="w", user="u", link="l")


async def status_of(
    client: ClientSession, method: str, at: str, headers: dict[str, str]
) -> tuple[int, str, str]:
    async with client.request(method, at, headers=headers, allow_redirects=False) as response:
        if response.status < 400:
            return response.status, response.content_type, ""
        return response.status, response.content_type, await response.text()


def show(title: str, columns: list[str], rows: dict[str, list[int]]) -> None:
    print(f"\n{title:52}" + " ".join(f"{name:>8}" for name in columns))
    for name, row in rows.items():
        print(f"{name:52}" + " ".join(f"{status:>8}" for status in row))


def test_the_list_says_what_is_meant() -> None:
    meant = {tuple(route.split()): who for who, routes in LISTED.items() for route in routes.split(",")}
    said = {route: want.need + (" of the camera" if want.camera else "") for route, want in ROUTES.items()}
    assert said == meant


async def test_every_route_for_everybody(tmp_path: Path) -> None:
    own = authority(tmp_path, USERS)
    rows: dict[str, list[int]] = {}
    async with serving(own) as client:
        headers = headers_of(own)
        for method, path, camera in cells():
            row = rows.setdefault(f"{method} {path.replace('{camera}', camera)}", [])
            for who in SEES:
                at = str(client.make_url(url(path, camera)))
                status, kind, body = await status_of(client.session, method, at, headers[who])
                right = refused(who, method, path, camera) or served(method, path)
                assert status == right, (who, method, path, camera)
                assert status < 400 or (kind == "application/problem+json" and SECRET not in body)
                row.append(status)
    show("users are configured", list(SEES), rows)


async def test_every_route_where_nobody_logs_in(tmp_path: Path) -> None:
    rows: dict[str, list[int]] = {}
    for mode, (config, loopback) in MODES.items():
        own = authority(tmp_path / mode, config, loopback=loopback)
        async with serving(own) as client:
            for method, path, camera in cells():
                at = str(client.make_url(url(path, camera)))
                status, _, body = await status_of(client.session, method, at, {})
                if mode == "beyond" and ROUTES[method, path].need == "admin":
                    assert status == 403 and "cctv3 user add" in body, (mode, method, path)
                else:
                    assert status == served(method, path), (mode, method, path)
                rows.setdefault(f"{method} {path.replace('{camera}', camera)}", []).append(status)
    show("nobody logs in", list(MODES), rows)


async def test_hidden_and_missing_look_alike(tmp_path: Path) -> None:
    own = authority(tmp_path, USERS)
    async with serving(own) as client:
        headers = headers_of(own)["viewer"]
        for method, path in ROUTES:
            if refused("viewer", method, path, "hidden") != 404:
                continue
            answers = set()
            for camera in ("hidden", "missing"):
                at = str(client.make_url(url(path, camera)))
                status, kind, body = await status_of(client.session, method, at, headers)
                answers.add((status, kind, body.replace(camera, "…")))
            assert len(answers) == 1, (method, path)


@pytest.mark.parametrize("camera", ["%66ront2", "front%2f..", "FRONT", "front%00", "f*", "front%0d%0aX: y"])
async def test_names_that_only_look_alike(tmp_path: Path, camera: str) -> None:
    own = authority(tmp_path, configured(*EVERYBODY))
    link, _ = own.links.create("front", 3600, "anna", "")
    async with serving(own) as client:
        at = f"{client.make_url('/')}api/v1/cameras/{camera}/report?token={link}"
        async with client.session.get(at) as response:
            assert response.status == 404 and "X" not in response.headers


async def test_the_real_application_has_these_routes_and_refuses_alike(tmp_path: Path) -> None:
    system = System(tmp_path, USERS)
    await system.start()
    system.settle()
    try:
        app = create_app(system.broker, system.authority, system.clock, tmp_path)
        there = {
            (route.method, route.resource.canonical)
            for route in app.router.routes()
            if route.resource is not None
        }
        for method, path in there:
            assert wanted(method, path) is not None, f"{method} {path} is not in permissions.ROUTES"
        assert set(ROUTES) <= there, f"not served: {set(ROUTES) - there}"
        assert not {path for _, path in ROUTES} & PAGES_PUBLIC
        headers = headers_of(system.authority)
        for method, path, camera in cells():
            for who in SEES:
                right = refused(who, method, path, camera)
                if right is None and path in NEVER_FINISHED:
                    continue
                at = system.url + url(path, camera)
                status, _, body = await status_of(system.client, method, at, headers[who])
                if right is not None:
                    assert status == right, (who, method, path, camera)
                elif ROUTES[method, path].need != "public":
                    assert status not in (401, 403), (who, method, path, camera)
                assert not re.search(r"argon2|Traceback|x{40}", body)
    finally:
        await system.close()
