"""Login, logout, me and view links over HTTP."""

import dataclasses
from pathlib import Path

import pytest

from access.support import EVERYBODY, PASSWORD, authority, configured, log_in, serving
from signaling.access.authority import COOKIE
from signaling.access.logins import LONGEST_S


async def test_login_and_logout(tmp_path: Path) -> None:
    own = authority(tmp_path, configured(*EVERYBODY))
    async with serving(own) as client:
        async with client.get("/api/v1/me") as response:
            assert response.status == 401 and response.headers["WWW-Authenticate"].startswith("Bearer")
        assert await log_in(client, "vera", "wrong") == 401
        async with client.post("/api/v1/login", json={"user": "vera", "password": PASSWORD}) as response:
            assert response.status == 204
            cookie = response.headers["Set-Cookie"]
        assert cookie.startswith(f"{COOKIE}=") and "HttpOnly" in cookie and "SameSite=Lax" in cookie
        assert "Secure" not in cookie and "Path=/;" in f"{cookie};"
        async with client.get("/api/v1/me") as response:
            me = await response.json()
        assert me.pop("expires_at") > own.now()
        assert me == {
            "name": "vera",
            "kind": "user",
            "role": "viewer",
            "cameras": ["front*"],
            "configures": False,
        }
        async with client.post("/api/v1/logout") as response:
            assert response.status == 204
        async with client.get("/api/v1/me") as response:
            assert response.status == 401


async def test_the_browser_keeps_the_cookie_as_long_as_a_login_can_last(tmp_path: Path) -> None:
    """How long it may be unused, the server knows: the cookie is set once and not at each use."""
    own = authority(tmp_path, configured(*EVERYBODY))
    async with serving(own) as client:
        async with client.post("/api/v1/login", json={"user": "vera", "password": PASSWORD}) as response:
            assert int(response.cookies[COOKIE]["max-age"]) == LONGEST_S
        token, _ = own.links.create("front", 3600, "anna", "")
        async with client.get(f"/view?token={token}", allow_redirects=False) as response:
            assert int(response.cookies[COOKIE]["max-age"]) == 3600


async def test_a_full_disk_lets_people_in(tmp_path: Path) -> None:
    own = authority(tmp_path, configured(*EVERYBODY))
    for name in ("audit.log", "logins.new"):
        (tmp_path / "state" / name).symlink_to("/dev/full")
    async with serving(own) as client:
        assert await log_in(client, "vera") == 204
        async with client.get("/api/v1/me") as response:
            assert (await response.json())["name"] == "vera"


async def test_the_cookie_behind_a_proxy_with_tls(tmp_path: Path) -> None:
    config = dataclasses.replace(configured(*EVERYBODY), trusted_proxies=("127.0.0.1",))
    own = authority(tmp_path, config)
    headers = {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Prefix": "/cameras",
        "X-Forwarded-For": "198.51.100.7",
        "X-Forwarded-Host": "cams.example",
    }
    async with serving(own) as client:
        content = {"user": "vera", "password": PASSWORD}
        async with client.post("/api/v1/login", json=content, headers=headers) as response:
            cookie = response.headers["Set-Cookie"]
        assert "Secure" in cookie and "Path=/cameras/" in cookie
    assert "198.51.100.7" in (tmp_path / "state" / "audit.log").read_text()


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ("{}", "application/json", 422),
        ("[]", "application/json", 422),
        ("{", "application/json", 400),
        ("[" * 5000, "application/json", 400),
        ('{"user": 1, "password": "x"}', "application/json", 422),
        ('{"user": "a", "password": "x", "more": 1}', "application/json", 422),
        ('{"user": "a", "password": "x"}', "text/plain", 415),
        ("x" * 9000, "application/json", 413),
    ],
)
async def test_bodies_that_are_none(tmp_path: Path, body: str, kind: str, status: int) -> None:
    own = authority(tmp_path, configured(*EVERYBODY))
    async with (
        serving(own) as client,
        client.post("/api/v1/login", data=body, headers={"Content-Type": kind}) as response,
    ):
        assert response.status == status
        assert (await response.json(content_type=None))["detail"]


async def test_view_links(tmp_path: Path) -> None:
    own = authority(tmp_path, configured(*EVERYBODY))
    told: list[int] = []
    own.on_changed(lambda: told.append(1))
    async with serving(own) as client:
        await log_in(client, "anna")
        content = {"camera": "front", "seconds": 3600, "note": "for the neighbour"}
        async with client.post("/api/v1/links", json=content) as response:
            assert response.status == 201
            created = await response.json()
        async with client.get("/api/v1/links") as response:
            (listed,) = (await response.json())["links"]
        assert created == listed | {"token": created["token"], "url": created["url"]}
        assert listed["created_by"] == "anna" and listed["note"] == "for the neighbour"
        client.session.cookie_jar.clear()
        async with client.session.get(created["url"], allow_redirects=False) as response:
            assert response.status == 303 and response.headers["Location"] == "./#front"
        async with client.get("/api/v1/me") as response:
            me = await response.json()
        assert (
            me["kind"] == "link" and me["cameras"] == ["front"] and me["expires_at"] == listed["expires_at"]
        )
        for path, status in (
            ("/api/v1/cameras/front/report", 200),
            ("/api/v1/cameras/front2/report", 404),
            ("/api/v1/links", 403),
        ):
            async with client.get(path) as response:
                assert response.status == status
        client.session.cookie_jar.clear()
        async with client.get(f"/api/v1/cameras/front/report?token={created['token']}") as response:
            assert response.status == 200
        await log_in(client, "anna")
        async with client.delete(f"/api/v1/links/{listed['id']}") as response:
            assert response.status == 204 and told
        async with client.session.get(created["url"], allow_redirects=False) as response:
            assert response.status == 401


@pytest.mark.parametrize(
    "content",
    [
        {"camera": "front"},
        {"camera": "*", "seconds": 60},
        {"camera": "front", "seconds": 1},
        {"camera": "front", "seconds": True},
        {"camera": "front", "seconds": 60, "note": "a\nb"},
    ],
)
async def test_links_that_are_none(tmp_path: Path, content: dict[str, object]) -> None:
    own = authority(tmp_path, configured(*EVERYBODY))
    async with serving(own) as client:
        await log_in(client, "anna")
        async with client.post("/api/v1/links", json=content) as response:
            assert response.status == 422
    assert own.links.all() == []
