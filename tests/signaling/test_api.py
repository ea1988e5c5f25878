"""Health, cameras and the page over real HTTP."""

from signaling_support import System

from signaling.app import SECURITY_HEADERS


async def test_health(bare: System) -> None:
    async with bare.client.get(f"{bare.url}/healthz") as response:
        assert response.status == 503
    await bare.add_worker("w0")
    async with bare.client.get(f"{bare.url}/healthz") as response:
        assert response.status == 200
        assert await response.json() == {"status": "ok", "workers": 1}


async def test_cameras(system: System) -> None:
    assert (await system.post()).status == 201
    async with system.client.get(f"{system.url}/api/v1/cameras") as response:
        front, yard = await response.json()
    assert front == {
        "name": "front",
        "state": "live",
        "codec": "H264",
        "profile": "High",
        "width": 1920,
        "height": 1080,
        "fps": 25.0,
        "bitrate": 4_000_000,
        "gop_s": 2.0,
        "age": 0.02,
        "viewers": 1,
        "error": None,
    }
    assert (yard["name"], yard["state"], yard["codec"]) == ("yard", "down", None)
    assert "ingest process" in yard["error"]


async def test_the_page_and_its_parts(bare: System) -> None:
    for name, kind in {
        "": "text/html",
        "style.css": "text/css",
        "app.js": "text/javascript",
        "player.js": "text/javascript",
        "icon.svg": "image/svg+xml",
    }.items():
        async with bare.client.get(f"{bare.url}/{name}") as response:
            assert (response.status, response.content_type) == (200, kind)
            assert SECURITY_HEADERS.items() <= response.headers.items()
            assert "Server" not in response.headers
            etag = response.headers["ETag"]
        async with bare.client.get(f"{bare.url}/{name}", headers={"If-None-Match": etag}) as response:
            assert response.status == 304


async def test_nothing_else_is_served(bare: System) -> None:
    from yarl import URL

    for path in ("/app.py", "/../app.py", "/%2e%2e/app.py", "/..%2fapp.py", "/web/app.js", "//etc/passwd"):
        async with bare.client.get(URL(bare.url + path, encoded=True)) as response:
            assert response.status == 404
            assert response.content_type == "application/problem+json"
