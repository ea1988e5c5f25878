"""Cameras over the API: the list, the report, and their settings with the real keeper behind."""

import asyncio
import dataclasses
from pathlib import Path

import aiohttp
import pytest
from signaling_support import SUB, System, eventually

from common.messages import CameraEvent, CameraReport
from signaling.workers import INGEST_SILENCE_S
from tests.support.reports import VIDEO, WELL

YARD = "/api/v1/cameras/yard"
NEW = {"If-None-Match": "*"}


async def test_list(system: System) -> None:
    assert (await system.post()).status == 201
    async with system.client.get(f"{system.url}/api/v1/cameras") as response:
        front, yard = await response.json()
    assert front == {
        "name": "front",
        "state": "live",
        "renditions": ["main"],
        "codec": "H264",
        "profile": "High",
        "width": 1920,
        "height": 1080,
        "fps": 25.0,
        "bitrate": 4_000_000,
        "gop_s": 2.0,
        "audio": "PCMA",
        "age": 0.02,
        "lost": 0,
        "viewers": 1,
        "error": None,
        "sub": None,
    }
    assert (yard["name"], yard["state"], yard["codec"]) == ("yard", "down", None)
    assert "ingest process" in yard["error"]


async def test_a_camera_lists_its_streams(system: System) -> None:
    ingest = await system.add_ingest("yard")
    ingest.notify(CameraReport("yard", (WELL, SUB)))
    await eventually(lambda: len(system.broker.registry.status("yard").renditions) == 2)
    async with system.client.get(f"{system.url}/api/v1/cameras") as response:
        front, listed = await response.json()
    assert (front["renditions"], listed["renditions"]) == (["main"], ["main", "sub"])
    unknown = dict.fromkeys(("codec", "width", "height", "fps", "bitrate", "gop_s"))
    assert (front["sub"], listed["sub"]) == (None, {"state": "idle", **unknown})
    small = dataclasses.replace(
        VIDEO, codec="H265", width=640, height=360, fps=12.5, bitrate=300_000, gop_s=8.0
    )
    ingest.notify(CameraReport("yard", (WELL, dataclasses.replace(SUB, state="live", video=small))))
    await eventually(lambda: system.broker.registry.status("yard").renditions[1].state == "live")
    assert await sub_of_yard(system) == {
        "state": "live",
        "codec": "H265",
        "width": 640,
        "height": 360,
        "fps": 12.5,
        "bitrate": 300_000,
        "gop_s": 8.0,
    }
    system.clock.now_s += 2 * INGEST_SILENCE_S
    down = await sub_of_yard(system)
    assert (down["state"], down["width"]) == ("down", 640)


async def sub_of_yard(system: System) -> dict[str, object]:
    async with system.client.get(f"{system.url}/api/v1/cameras") as response:
        sub: dict[str, object] = (await response.json())[1]["sub"]
        return sub


async def test_report(system: System) -> None:
    ingest = await system.add_ingest("yard")
    ingest.notify(CameraEvent("yard", "main", 1_500_000_000, "failed", "wrong password"))
    await eventually(lambda: bool(system.broker.events.of_camera("yard")))
    async with system.client.get(f"{system.url}{YARD}/report") as response:
        report = await response.json()
    assert (report["camera"], report["state"], report["viewers"]) == ("yard", "live", 0)
    (main,) = report["renditions"]
    assert main["video"]["peak_bitrate"] == 5_000_000
    (event,) = report["events"]
    assert (event["what"], event["text"]) == ("failed", "main stream: failed, wrong password")
    async with system.client.get(f"{system.url}/api/v1/cameras/nobody/report") as response:
        assert response.status == 404


async def asked(
    system: System, method: str, path: str, status: int, headers: dict[str, str] | None = None, **more: object
) -> aiohttp.ClientResponse:
    async with system.client.request(method, system.url + path, headers=headers, **more) as response:  # type: ignore[arg-type]
        text = await response.text()
        assert response.status == status, text
        assert "s3cret" not in text
        if status >= 400:
            assert response.content_type == "application/problem+json"
        return response


async def test_settings(kept: System, tmp_path: Path) -> None:
    response = await asked(kept, "GET", "/api/v1/cameras/front", 200)
    shown = await response.json()
    assert shown == {
        "name": "front",
        "url": "rtsp://camera/front",
        "sub": None,
        "on_demand": False,
        "transport": "auto",
        "verify_tls": True,
        "audio": True,
        "credentials": True,
    }
    # What was read can be written as it is, and nothing changes.
    tag = response.headers["ETag"]
    before = (tmp_path / "config.yaml").read_text()
    await asked(kept, "PUT", "/api/v1/cameras/front", 200, {"If-Match": tag}, json=shown)
    assert (tmp_path / "config.yaml").read_text() == before
    await asked(kept, "GET", "/api/v1/cameras/front", 304, {"If-None-Match": f'"other", {tag}'})
    await asked(kept, "PUT", "/api/v1/cameras/front", 200, {"If-Match": tag}, json=shown | {"audio": False})
    await asked(kept, "PUT", "/api/v1/cameras/front", 412, {"If-Match": tag}, json=shown)
    assert "rtsp://who:s3cret@camera/front" in (tmp_path / "config.yaml").read_text()
    assert "# mine" in (tmp_path / "config.yaml").read_text()


async def test_a_camera_comes_and_goes(kept: System) -> None:
    path = "/api/v1/cameras/gate"
    content = {"url": "rtsp://who:s3cret@camera/gate"}
    response = await asked(kept, "PUT", path, 201, NEW, json=content)
    assert response.headers["Location"] == "gate" and (await response.json())["credentials"] is True
    await eventually(lambda: kept.broker.registry.has_camera("gate"))
    await asked(kept, "PUT", path, 412, NEW, json=content)
    assert "If-Match" in await (await asked(kept, "PUT", path, 428, json=content)).text()
    await asked(kept, "DELETE", path, 428)
    await asked(kept, "DELETE", path, 412, {"If-Match": '"other"'})
    await asked(kept, "DELETE", path, 204, {"If-Match": response.headers["ETag"]})
    await eventually(lambda: not kept.broker.registry.has_camera("gate"))
    await asked(kept, "DELETE", path, 404, {"If-Match": "*"})
    await asked(kept, "GET", path, 404)
    await asked(kept, "PUT", path, 404, {"If-Match": "*"}, json=content)


async def test_of_those_who_edit_at_once_one_wins(kept: System) -> None:
    tag = (await asked(kept, "GET", YARD, 200)).headers["ETag"]

    async def put(number: int) -> int:
        content = {"url": f"rtsp://camera/{number}"}
        async with kept.client.put(kept.url + YARD, json=content, headers={"If-Match": tag}) as response:
            return response.status

    assert sorted(await asyncio.gather(*(put(number) for number in range(4)))) == [200, 412, 412, 412]


ORDER = "/api/v1/cameras-order"


async def test_the_order_of_cameras(kept: System, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    lines = path.read_text().splitlines()
    session = await kept.open("front")
    response = await asked(kept, "GET", ORDER, 200)
    tag = response.headers["ETag"]
    assert await response.json() == {"order": ["front", "yard"]}
    await asked(kept, "GET", ORDER, 304, {"If-None-Match": tag})
    response = await asked(kept, "PUT", ORDER, 200, {"If-Match": tag}, json={"order": ["yard", "front"]})
    assert await response.json() == {"order": ["yard", "front"]} and response.headers["ETag"] != tag
    async with kept.client.get(f"{kept.url}/api/v1/cameras") as listed:
        assert [camera["name"] for camera in await listed.json()] == ["yard", "front"]
    assert path.read_text().splitlines() == [*lines[:2], *lines[4:], *lines[2:4]]
    assert kept.broker.sessions.get(session.id) is not None
    await asked(kept, "PUT", ORDER, 412, {"If-Match": tag}, json={"order": ["front", "yard"]})
    await asked(kept, "PUT", ORDER, 200, {"If-Match": "*"}, json={"order": ["front", "yard"]})
    assert path.read_text().splitlines() == lines
    await asked(kept, "PUT", ORDER, 200, json={"order": ["front", "yard"]})
    audit = (kept.folder / "state" / "audit.log").read_text()
    assert audit.count('"order-cameras"') == 3


async def test_an_order_that_nobody_has_heard_of_yet(kept: System, tmp_path: Path) -> None:
    """The file was changed by hand just now: what was read is not what is there."""
    tag = (await asked(kept, "GET", ORDER, 200)).headers["ETag"]
    path = tmp_path / "config.yaml"
    path.write_text(path.read_text() + "  gate: {url: 'rtsp://camera/gate'}\n")
    response = await asked(kept, "PUT", ORDER, 412, {"If-Match": tag}, json={"order": ["yard", "front"]})
    assert "another order" in await response.text()
    assert path.read_text().endswith("gate'}\n")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"order": ["yard"]}, "front is missing"),
        ({"order": ["yard", "front", "yard"]}, "yard is there twice"),
        ({"order": ["yard", "front", "gate"]}, "there is no camera 'gate'"),
        ({"order": [7]}, "names of cameras"),
        ({"order": "yard"}, "order: must be a list"),
        ({"order": ["yard", "front"], "by": "me"}, "not a known member"),
        ({}, "order: is missing"),
    ],
)
async def test_orders_that_are_none(
    kept: System, tmp_path: Path, content: dict[str, object], says: str
) -> None:
    before = (tmp_path / "config.yaml").read_text()
    response = await asked(kept, "PUT", ORDER, 422, json=content)
    assert says in (await response.json())["detail"]
    assert (tmp_path / "config.yaml").read_text() == before


async def test_removing_a_camera_ends_its_sessions(kept: System) -> None:
    assert (await kept.post()).status == 201
    await asked(kept, "DELETE", "/api/v1/cameras/front", 204, {"If-Match": "*"})
    await eventually(lambda: not kept.worker.sessions)


@pytest.mark.parametrize(
    ("body", "kind", "status", "says"),
    [
        ('{"url": "ftp://u:s3cret@x"}', "application/json", 422, "url must be a URL"),
        ('{"url": "rtsp://x", "urll": 1}', "application/json", 422, "urll is not a known key"),
        ('{"url": "rtsp://x", "url": "rtsp://y"}', "application/json", 422, "twice"),
        ('{"url": "rtsp://x", "name": "other"}', "application/json", 422, "cannot be renamed"),
        ('{"url": "rtsp://x", "credentials": 7}', "application/json", 422, "credentials"),
        ('{"url": {"a": [1]}}', "application/json", 422, "url"),
        ("[]", "application/json", 422, "JSON object"),
        ("{", "application/json", 400, "not JSON"),
        ('{"url": NaN}', "application/json", 400, "not JSON"),
        ("{}", "text/plain", 415, "application/json"),
        ("{" + " " * 70_000 + "}", "application/json", 413, "octets"),
    ],
)
async def test_what_is_wrong_is_said(
    kept: System, tmp_path: Path, body: str, kind: str, status: int, says: str
) -> None:
    headers = {"Content-Type": kind, **NEW}
    response = await asked(kept, "PUT", "/api/v1/cameras/new", status, headers, data=body)
    assert says in (await response.json(content_type=None))["detail"]
    assert "new" not in (tmp_path / "config.yaml").read_text()


@pytest.mark.parametrize("name", ["a%20b", "-a", "a" * 49, "..", "%0d%0aX: y", "a%2fb"])
async def test_names_that_are_none(kept: System, name: str) -> None:
    from yarl import URL

    url = URL(f"{kept.url}/api/v1/cameras/{name}", encoded=True)
    async with kept.client.put(url, json={"url": "rtsp://x"}, headers=NEW) as response:
        assert response.status in (400, 404, 405, 422)
        assert "X" not in response.headers


@pytest.mark.parametrize("headers", [{"If-Match": "x"}, {"If-Match": 'W/"x"'}, {"If-None-Match": '"x"'}])
async def test_conditions_that_mean_nothing(kept: System, headers: dict[str, str]) -> None:
    await asked(kept, "PUT", YARD, 400, headers, json={"url": "rtsp://x"})


async def test_without_a_keeper(system: System) -> None:
    wish = {"json": {"url": "rtsp://x"}, "headers": NEW}
    for method, path, more in (
        ("GET", YARD, {}),
        ("DELETE", YARD, {"headers": {"If-Match": "*"}}),
        ("PUT", YARD, wish),
        ("PUT", ORDER, {"json": {"order": []}}),
    ):
        async with system.client.request(method, system.url + path, **more) as response:  # type: ignore[arg-type]
            assert response.status == 503 and response.headers["Retry-After"]
