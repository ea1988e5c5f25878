"""Sessions, workers, users, configuration, ICE servers and events over the API."""

import asyncio
import dataclasses
import json
from pathlib import Path

import aiohttp
from access.support import HASH
from signaling_support import USER, System, eventually, session_report, started, users, worker_report

from common.access_config import AuthConfig, SignalingConfig, UserConfig
from signaling.api.events import MAX_OF_ONE
from signaling.events import REFUSED

NEW = {"If-None-Match": "*"}
ANY = {"If-Match": "*"}
LONG = "a long enough password"


async def test_sessions_of_all_workers(system: System) -> None:
    other = await system.add_worker("w1")
    assert [(await system.post()).status for _ in range(2)] == [201, 201]
    async with system.client.get(f"{system.url}/api/v1/sessions") as response:
        listed = await response.json()
        text = await response.text()
    assert listed["silent"] == []
    ids = {"fanout-w0": [*system.worker.sessions], "fanout-w1": [*other.sessions]}
    assert sorted(session["worker"] for session in listed["sessions"]) == ["fanout-w0", "fanout-w1"]
    for session in listed["sessions"]:
        (whole,) = ids[session["worker"]]
        assert session["session"] == f"{whole[:6]}…"
        assert whole not in text
        assert {**session, "session": "s"} == {
            **dataclasses.asdict(session_report("s", "front")),
            "worker": session["worker"],
            "viewer": "anonymous",
            "kind": "anonymous",
            "address": "127.0.0.1",
            "age": session["age"],
            "reason": None,
        }
        assert 0 <= session["age"] < 60
    other.silent = True
    async with system.client.get(f"{system.url}/api/v1/sessions") as response:
        listed = await response.json()
    assert [session["worker"] for session in listed["sessions"]] == ["fanout-w0"]
    assert listed["silent"] == ["fanout-w1"]


async def test_what_signaling_knows_of_a_session(system: System) -> None:
    system.worker.sessions["from-before-the-restart"] = "front"
    system.worker.client.notify(system.worker.hello())
    await eventually(system.broker.sessions.all)
    system.worker.change("from-before-the-restart", "sub", "the link carries 300 kbit/s")
    await eventually(lambda: system.broker.sessions.all()[0].change)
    async with system.client.get(f"{system.url}/api/v1/sessions") as response:
        (session,) = (await response.json())["sessions"]
    assert (session["age"], session["reason"]) == (None, "the link carries 300 kbit/s")
    system.worker.sessions["ended-or-not-yet-known"] = "front"
    async with system.client.get(f"{system.url}/api/v1/sessions") as response:
        unknown = (await response.json())["sessions"][1]
    assert {unknown[key] for key in ("viewer", "kind", "address", "age", "reason")} == {None}


async def test_kick(system: System) -> None:
    assert (await system.post()).status == 201
    (session,) = system.worker.sessions
    async with system.client.delete(f"{system.url}/api/v1/sessions/{session[:6]}") as response:
        assert response.status == 204
    await eventually(lambda: not system.worker.sessions)
    async with system.client.delete(f"{system.url}/api/v1/sessions/{session[:6]}") as response:
        assert response.status == 404
    audit = (system.folder / "state" / "audit.log").read_text()
    assert '"kick"' in audit and session not in audit


async def test_workers_and_drain(system: System) -> None:
    await system.add_worker("w1")
    url = f"{system.url}/api/v1/workers"
    async with system.client.post(f"{url}/fanout-w1/drain") as response:
        assert response.status == 204
    async with system.client.get(url) as response:
        listed = {worker["worker"]: worker for worker in await response.json()}
    assert listed["fanout-w0"]["state"] == "up" and listed["fanout-w1"]["state"] == "draining"
    assert listed["fanout-w0"].keys() == {"worker", "state", "age", "sessions", "headroom", "report"}
    async with system.client.delete(f"{url}/fanout-w1/drain") as response:
        assert response.status == 204
    async with system.client.post(f"{url}/fanout-w9/drain") as response:
        assert response.status == 404


async def test_an_operator_hears_of_his_cameras(tmp_path: Path) -> None:
    operators = (UserConfig("olga", "operator", ("front",)), UserConfig("otto", "operator"))
    system = await started(tmp_path, users(*operators))
    await system.add_keeper()
    system.worker.client.notify(dataclasses.replace(worker_report("w0"), cameras=("front", "yard")))
    await eventually(lambda: any(load.reports for load in system.broker._loads()))
    seen = {}
    for user in ("olga", "otto"):
        async with system.client.get(f"{system.url}/api/v1/workers", headers={USER: user}) as response:
            (worker,) = await response.json()
        async with system.client.get(f"{system.url}/api/v1/configuration", headers={USER: user}) as response:
            seen[user] = worker["report"]["cameras"], (await response.json())["cameras"]
    await system.close()
    assert seen == {"olga": (["front"], ["front"]), "otto": (["front", "yard"], ["front", "yard"])}


async def test_an_operator_hears_nothing_of_other_cameras(tmp_path: Path) -> None:
    people = (UserConfig("olga", "operator", ("front",)), UserConfig("anna", "admin"))
    system = await started(tmp_path, users(*people))
    try:
        keeper = await system.add_keeper()
        streams = {
            user: await system.client.get(f"{system.url}/api/v1/events", headers={USER: user})
            for user in ("olga", "anna")
        }
        keeper.change(revision=2, cameras=("front", "yard", "vault"), error="line 3: cameras.vault: no")
        await eventually(lambda: system.broker.settings == keeper.state)
        system.broker.events.tell("worker", "up", "the last")
        told: dict[str, list[str]] = {}
        for user, stream in streams.items():
            told[user] = []
            while told[user][-1:] != ["the last"]:
                told[user].append((await next_event(stream))["text"])
            stream.close()
        url, why = f"{system.url}/api/v1/configuration", {}
        for user in streams:
            async with system.client.get(url, headers={USER: user}) as response:
                why[user] = (await response.json())["error"]
    finally:
        await system.close()
    assert told["olga"] == ["the configuration changed", REFUSED, "the last"]
    assert told["anna"] == [
        "camera vault was added",
        "the configuration changed",
        "line 3: cameras.vault: no",
        "the last",
    ]
    assert why == {"olga": REFUSED, "anna": "line 3: cameras.vault: no"}


async def test_users(kept: System, tmp_path: Path) -> None:
    url = f"{kept.url}/api/v1/users"

    async def put(
        name: str, status: int, headers: dict[str, str], **content: object
    ) -> aiohttp.ClientResponse:
        async with kept.client.put(f"{url}/{name}", json=content, headers=headers) as response:
            text = await response.text()
            assert response.status == status, text
            assert LONG not in text and "argon2" not in text
            return response

    # The first one has to be an admin, or nobody could configure anything afterwards.
    await put("vera", 409, NEW, role="viewer", password=LONG)
    await put("anna", 422, NEW, role="admin", password="short")
    await put("anna", 422, NEW, rolle="admin")
    response = await put("anna", 201, NEW, role="admin", password=LONG)
    assert await response.json() == {"name": "anna", "role": "admin", "cameras": ["*"], "password": True}
    tag = response.headers["ETag"]
    await put("vera", 422, NEW, role="root", password=LONG)
    await put("vera", 201, NEW, cameras=["front*"], password=LONG)
    async with kept.client.get(url) as response:
        listed = (await response.json())["users"]
    assert [user["name"] for user in listed] == ["anna", "vera"]
    await put("anna", 409, {"If-Match": tag}, role="viewer", password=True)
    async with kept.client.delete(f"{url}/anna", headers=ANY) as response:
        assert response.status == 409
    async with kept.client.delete(f"{url}/vera", headers=ANY) as response:
        assert response.status == 204
    async with kept.client.get(f"{url}/anna", headers={"If-None-Match": tag}) as response:
        assert response.status == 304
    async with kept.client.get(f"{url}/vera") as response:
        assert response.status == 404
    assert "$argon2id$" in (tmp_path / "config.yaml").read_text()


async def test_admins_who_remove_each_other_at_once(kept: System) -> None:
    url = f"{kept.url}/api/v1/users"
    for name in ("anna", "ben"):
        content = {"role": "admin", "password": LONG}
        async with kept.client.put(f"{url}/{name}", json=content, headers=NEW) as response:
            assert response.status == 201

    async def remove(name: str) -> int:
        async with kept.client.delete(f"{url}/{name}", headers=ANY) as response:
            return response.status

    assert sorted(await asyncio.gather(remove("anna"), remove("ben"))) == [204, 409]


async def test_an_admin_who_cannot_log_in_is_none(kept: System) -> None:
    url = f"{kept.url}/api/v1/users"

    async def put(name: str, headers: dict[str, str], **content: object) -> int:
        async with kept.client.put(f"{url}/{name}", json=content, headers=headers) as response:
            return response.status

    async def remove(name: str) -> int:
        async with kept.client.delete(f"{url}/{name}", headers=ANY) as response:
            return response.status

    assert await put("anna", NEW, role="admin") == 409
    assert await put("anna", NEW, role="admin", password=LONG) == 201
    assert await put("ben", NEW, role="admin") == 201
    assert await remove("anna") == 409
    assert await put("anna", ANY, role="admin") == 200  # the password stays
    assert await put("ben", ANY, role="admin", password=LONG) == 200
    assert await remove("anna") == 204
    assert await put("carl", NEW, role="admin") == 201
    assert await remove("ben") == 409
    # A reverse proxy vouches for those without a password.
    headers = {USER: "carl"}
    kept.authority.configure(users(UserConfig("carl", "admin")))
    async with kept.client.delete(f"{url}/ben", headers={**ANY, **headers}) as response:
        assert response.status == 204


async def test_a_password_that_is_no_utf8(kept: System) -> None:
    body = '{"role": "admin", "password": "' + "\\ud800" * 12 + '"}'
    headers = {**NEW, "Content-Type": "application/json"}
    async with kept.client.put(f"{kept.url}/api/v1/users/anna", data=body, headers=headers) as response:
        assert response.status == 422 and "surrogate" in await response.text()


async def test_configuration(kept: System, tmp_path: Path) -> None:
    url = f"{kept.url}/api/v1/configuration"
    async with kept.client.get(url) as response:
        before = await response.json()
    assert before["cameras"] == ["front", "yard"] and before["writable"] and before["error"] is None
    path = tmp_path / "config.yaml"
    text = path.read_text()
    path.write_text(text + "oops: 1\n")
    async with kept.client.post(f"{url}/reload") as response:
        assert response.status == 422 and "oops is not a known key" in await response.text()
    async with kept.client.get(url) as response:
        assert "oops" in (await response.json())["error"]
    path.write_text(text + "  gate: {url: 'rtsp://camera/gate'}\n")
    async with kept.client.post(f"{url}/reload") as response:
        after = await response.json()
    assert after["cameras"] == ["front", "yard", "gate"] and after["revision"] > before["revision"]


async def test_ice_servers(bare: System) -> None:
    for ice_urls in ((), ("stun:10.0.0.2:3478", "stun:[::1]:3478")):
        await bare.stop()
        bare.ice_urls = ice_urls
        await bare.start()
        async with bare.client.get(f"{bare.url}/api/v1/ice-servers") as response:
            assert response.status == 200
            assert await response.json() == [{"urls": url} for url in ice_urls]


async def next_event(response: aiohttp.ClientResponse) -> dict[str, str]:
    fields = {}
    async with asyncio.timeout(5):
        while True:
            line = (await response.content.readline()).decode().rstrip("\n")
            if not line and "data" in fields:
                event: dict[str, str] = json.loads(fields["data"])
                return event
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value


async def test_events_are_those_that_one_asks_for(system: System) -> None:
    url = f"{system.url}/api/v1/events"
    async with system.client.get(url, params={"kind": "worker"}) as response:
        await response.content.readline()
        system.broker.events.tell("camera", "live", "x", camera="front")
        system.broker.events.tell("worker", "up", "y", worker="fanout-0")
        assert (await next_event(response))["text"] == "y"
    async with system.client.get(url, params={"camera": "yard"}) as response:
        await response.content.readline()
        system.broker.events.tell("camera", "live", "x", camera="front")
        system.broker.events.tell("camera", "live", "z", camera="yard")
        assert (await next_event(response))["text"] == "z"
    async with system.client.get(url, params={"kind": "weather"}) as response:
        assert response.status == 422


async def test_no_head_of_a_stream_that_does_not_end(system: System) -> None:
    async with system.client.head(f"{system.url}/api/v1/events") as response:
        assert response.status == 405 and response.headers["Allow"] == "GET"


async def test_streams_of_one_are_bounded(system: System) -> None:
    url = f"{system.url}/api/v1/events"
    streams = [await system.client.get(url) for _ in range(MAX_OF_ONE)]
    async with system.client.get(url) as response:
        assert response.status == 429
    streams[0].close()

    async def free() -> bool:
        async with system.client.get(url) as response:
            return response.status == 200

    async with asyncio.timeout(5):
        while not await free():
            await asyncio.sleep(0.05)
    for stream in streams:
        stream.close()


async def test_a_stream_ends_with_the_right_to_it(tmp_path: Path) -> None:
    vera = UserConfig("vera", "viewer", ("front",), HASH)
    system = await started(tmp_path, config=users(vera))
    try:
        url = f"{system.url}/api/v1/events"
        async with system.client.get(url, headers={USER: "vera"}) as response:
            await response.content.readline()
            system.broker.events.tell("session", "opened", "not hers", camera="front")
            system.broker.events.tell("camera", "live", "not hers", camera="yard")
            system.broker.events.tell("camera", "live", "hers", camera="front")
            assert (await next_event(response))["text"] == "hers"
            system.authority.configure(SignalingConfig(auth=AuthConfig("users", ())))
            async with asyncio.timeout(2):
                assert await response.content.read() == b""
    finally:
        await system.close()
