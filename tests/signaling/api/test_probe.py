"""Cameras tried out over the API, by the real process; the login stays where it is."""

import asyncio
import base64
import contextlib
import json
from pathlib import Path

import psutil
import pytest
from access.support import VERA
from signaling_support import USER, System, eventually, started, users

from common.access_config import UserConfig
from common.config import CameraConfig, Config
from common.resolved import store_resolved
from signaling.api import probe
from tests.support.faulty_camera import Hang, faulty_camera
from tests.support.ports import free_tcp_port
from tests.support.processes import simulated_camera

PATH = "/api/v1/probe"


def audited(system: System) -> list[dict[str, object]]:
    lines = (system.folder / "state" / "audit.log").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["action"] == "probe"]


def trials() -> list[list[str]]:
    """The command lines of the processes that try cameras out now."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(child.cmdline())
    return [arguments for arguments in found if "ingest.trial" in arguments]


async def asked(system: System, status: int, **wish: object) -> dict[str, object]:
    async with system.client.post(system.url + PATH, json=wish) as response:
        text = await response.text()
        assert response.status == status, text
        assert "s3cret" not in text
        found: dict[str, object] = json.loads(text)
        return found


async def test_a_camera_that_works_by_its_saved_login(system: System) -> None:
    async with simulated_camera(free_tcp_port(), user="who", password="s3cret", gop=10) as url:
        saved = CameraConfig("yard", url.replace("//", "//who:s3cret@"))
        store_resolved(Config((saved,)), system.folder)
        known = asyncio.ensure_future(asked(system, 200, name="yard", url=url, credentials=True))
        unknown = asyncio.ensure_future(asked(system, 200, name="yard", url=url))
        titles = set[str]()
        while not known.done():
            titles |= set(map(" ".join, trials()))
            await asyncio.sleep(0.05)
        works, refused = await known, await unknown
    assert works.keys() == {"works", "error", "kind", "report", "advice", "picture"}
    assert (works["works"], works["error"], works["kind"]) == (True, None, None)
    assert base64.b64decode(str(works["picture"])).startswith(b"\xff\xd8")
    assert (refused["works"], refused["kind"], refused["picture"]) == (False, "refused", None)
    assert "wants a user name and password" in str(refused["error"])
    assert titles and not [title for title in titles if "rtsp" in title]
    for entry, result in zip(audited(system), ("refused", "ok"), strict=True):
        assert (entry["result"], entry["camera"], entry["url"]) == (result, "yard", url)


async def test_a_new_camera_that_is_not_there(system: System) -> None:
    url = f"rtsp://who:s3cret@127.0.0.1:{free_tcp_port()}/x"
    found = await asked(system, 200, url=url)
    assert (found["works"], found["kind"], found["picture"]) == (False, "unreachable", None)
    assert "refuses connections" in str(found["error"]) and found["advice"]
    (entry,) = audited(system)
    assert entry["result"] == "unreachable" and "camera" not in entry
    assert "s3cret" not in json.dumps(entry) and "refuses connections" in str(entry["error"])


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"url": "ftp://who:s3cret@x"}, "cameras.new.url must be a URL"),
        ({"url": "rtsp://x", "urll": 1}, "urll is not a known key"),
        ({"name": "gate"}, "cameras.gate.url is missing"),
        ({"name": "gate", "url": 7}, "cameras.gate.url"),
        ({"name": "yard", "url": "rtsp://x", "credentials": True}, "scheme, host and port stay"),
        ({"name": "yard", "url": "rtsp://x", "credentials": 1}, "credentials: is neither true nor false"),
        ({"name": "../signaling", "url": "rtsp://x"}, "no name for a camera"),
        ({"name": 7, "url": "rtsp://x"}, "name: must be text"),
    ],
)
async def test_what_is_wrong_is_said(system: System, wish: dict[str, object], says: str) -> None:
    store_resolved(Config((CameraConfig("yard", "rtsp://who:s3cret@cam/"),)), system.folder)
    assert says in str((await asked(system, 422, **wish))["detail"])
    assert not (system.folder / "state" / "audit.log").exists()


async def test_a_body_that_is_none(system: System) -> None:
    async with system.client.post(system.url + PATH, data="{") as response:
        assert response.status == 415


async def test_only_some_at_a_time(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "WAITING", 3)
    async with faulty_camera([Hang()]) as camera:
        tasks = [asyncio.ensure_future(asked(system, 200, url=camera.url)) for _ in range(3)]
        await eventually(lambda: camera.connections)
        busy = await asked(system, 503, url=camera.url)
        assert "too many" in str(busy["detail"])
        assert 0 < len(trials()) <= probe.AT_A_TIME
        await system.runner.cleanup()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert not trials()
    assert [entry["result"] for entry in audited(system)] == [
        "no-answer"
    ] * 3  # the busy one is not among them


async def test_one_that_takes_too_long(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "DEADLINE_S", 1.0)
    async with faulty_camera([Hang()]) as camera:
        url = camera.url.replace("//", "//who:s3cret@")
        found = await asked(system, 504, name="yard", url=url)
    assert "within 1 s" in str(found["detail"])
    (entry,) = audited(system)
    assert (entry["result"], entry["camera"], entry["url"]) == ("no-answer", "yard", camera.url)


async def test_one_that_breaks(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signaling.api.child.sys.executable", "/bin/false")
    for wish in ({"url": "rtsp://x"}, {"url": {"password": "s3cret"}}, {}):
        found = await asked(system, 504, **wish)
        assert "log says why" in str(found["detail"])
    entries = audited(system)
    assert [entry["result"] for entry in entries] == ["no-answer"] * 3
    assert [entry.get("url") for entry in entries] == ["rtsp://x", None, None]


@pytest.mark.parametrize(("who", "status"), [("anna", 422), ("olga", 403), ("vera", 403)])
async def test_it_is_for_admins(tmp_path: Path, who: str, status: int) -> None:
    known = [UserConfig(name, role, ("*",), VERA.password) for name, role in ROLES.items()]
    system = await started(tmp_path, users(*known))
    try:
        async with system.client.post(system.url + PATH, json={"url": ""}, headers={USER: who}) as response:
            assert response.status == status
    finally:
        await system.close()


ROLES = {"anna": "admin", "olga": "operator", "vera": "viewer"}
