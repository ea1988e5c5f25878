"""WHEP over real HTTP and the real bus: every status that is documented."""

import asyncio
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signaling_support import ANSWER, FRAGMENT, OFFER, USER, System, eventually, started, users

from common.access_config import UserConfig
from common.messages import CandidateRequest, CloseRequest, Refused

PATCH_TYPE = "application/trickle-ice-sdpfrag"


async def problem(response: aiohttp.ClientResponse, status: int) -> str:
    """Checks that `response` is a problem of that status; gives its detail."""
    assert response.status == status, await response.text()
    assert response.content_type == "application/problem+json"
    members = await response.json(content_type=None)
    assert members.keys() == {"type", "title", "status", "detail"}
    assert members["status"] == status
    detail = members["detail"]
    assert isinstance(detail, str)
    return detail


async def test_session_from_offer_to_delete(system: System) -> None:
    response = await system.post()
    assert response.status == 201
    assert response.content_type == "application/sdp"
    assert await response.text() == ANSWER
    assert response.headers["ETag"] == '"srv1"'
    assert response.headers["Accept-Patch"] == PATCH_TYPE
    (offer,) = system.worker.offers()
    assert (offer.media_endpoint, offer.camera) == ("ipc:///run/front.sock", "front")

    session_url = urljoin(f"{system.url}/whep/front", response.headers["Location"])
    headers = {"Content-Type": PATCH_TYPE, "If-Match": response.headers["ETag"]}
    patched = await system.client.patch(session_url, data=FRAGMENT, headers=headers)
    assert (patched.status, await patched.read()) == (204, b"")
    assert "ETag" not in patched.headers
    assert system.worker.requests[-1] == CandidateRequest(offer.session, FRAGMENT)

    deleted = await system.client.delete(session_url)
    assert deleted.status == 200
    assert system.worker.requests[-1] == CloseRequest(offer.session)
    await problem(await system.client.delete(session_url), 404)
    await problem(await system.client.patch(session_url, data=FRAGMENT, headers=headers), 404)


@pytest.mark.parametrize("quality", ["auto", "main", "sub", "keyframes"])
async def test_a_player_may_ask_for_a_quality(system: System, quality: str) -> None:
    response = await system.post(f"front?quality={quality}")
    assert response.status == 201 and "quality" not in response.headers["Location"]
    (offer,) = system.worker.offers()
    assert (offer.camera, offer.quality) == ("front", quality)


@pytest.mark.parametrize("quality", ["best", "", "SUB", "sub,main"])
async def test_a_quality_that_is_none(system: System, quality: str) -> None:
    detail = await problem(await system.post(f"front?quality={quality}"), 422)
    assert detail == "quality: one of auto, main, sub, keyframes"
    assert system.worker.offers() == []


async def test_location_is_right_under_a_path_prefix(system: System) -> None:
    location = (await system.post()).headers["Location"]
    resolved = urljoin("https://example.org/cctv/whep/front?token=x", location)
    assert resolved.startswith("https://example.org/cctv/whep/front/")


async def test_options_tell_what_is_taken(system: System) -> None:
    response = await system.client.options(f"{system.url}/whep/front")
    assert (response.status, response.headers["Accept-Post"]) == (200, "application/sdp")
    response = await system.client.options(f"{system.url}/whep/front/xyz")
    assert (response.status, response.headers["Accept-Patch"]) == (200, PATCH_TYPE)
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("ice_urls", [(), ("stun:10.0.0.2:3478",), ("stun:h:1", "stun:[::1]:3478")])
async def test_links_tell_the_ice_servers(tmp_path: Path, ice_urls: tuple[str, ...]) -> None:
    system = await started(tmp_path, ice_urls=ice_urls)
    try:
        for response in (await system.post(), await system.client.options(f"{system.url}/whep/front")):
            links = [f'<{url}>; rel="ice-server"' for url in ice_urls]
            assert response.headers.get("Link") == (", ".join(links) or None)
    finally:
        await system.close()


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_other_methods(system: System, method: str) -> None:
    response = await system.client.request(method, f"{system.url}/whep/front")
    await problem(response, 405)
    assert response.headers["Allow"] == "OPTIONS,POST"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ("hello", "application/sdp", 400),
        ("", "application/sdp", 400),
        (b"v=0\r\n\xff", "application/sdp", 400),
        (OFFER, "text/plain", 415),
        (OFFER, "application/json", 415),
        (b"v=0\r\n" + b"a" * (900 << 10), "application/sdp", 413),
    ],
)
async def test_bad_bodies(system: System, body: str | bytes, kind: str, status: int) -> None:
    await problem(await system.post(body=body, kind=kind), status)
    assert system.worker.requests == []


async def test_a_compressed_body_is_not_unpacked(system: System) -> None:
    headers = {"Content-Type": "application/sdp", "Content-Encoding": "gzip"}
    response = await system.client.post(f"{system.url}/whep/front", data=b"\x1f\x8b", headers=headers)
    await problem(response, 415)


async def test_a_large_body_is_refused_unread(system: System) -> None:
    """The announced megabyte never has to be sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", system.port)
    writer.write(
        b"POST /whep/front HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\n"
        b"Content-Length: 1048576\r\n\r\nv=0\r\n"
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"Connection: close" in head
    writer.close()


async def test_an_endless_chunked_body_is_cut(system: System) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", system.port)
    writer.write(
        b"POST /whep/front HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    for _ in range(5):
        writer.write(b"4000\r\n" + b"v" * 0x4000 + b"\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 413 ")
    writer.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01 not HTTP at all\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /whep/front HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"POST /whep/front HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\n"
        b"Content-Length: 50\r\n\r\nv=0",
    ],
)
async def test_broken_http_is_no_fault_of_ours(
    system: System, request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", system.port)
    writer.write(request_bytes)
    writer.write_eof()
    assert (await reader.read())[:13] in (b"HTTP/1.0 400 ", b"HTTP/1.1 400 ", b"")
    writer.close()
    assert (await system.post()).status == 201
    assert caplog.records == [record for record in caplog.records if record.levelname == "INFO"]


@pytest.mark.parametrize(
    "camera", ["nowhere", "..%2F..%2Fetc%2Fpasswd", "front%0d%0aX-Evil:1", "%00", "a" * 200]
)
async def test_unknown_cameras(system: System, camera: str) -> None:
    response = await system.client.post(
        aiohttp.client.URL(f"{system.url}/whep/{camera}", encoded=True),
        data=OFFER,
        headers={"Content-Type": "application/sdp"},
    )
    await problem(response, 404)
    assert "X-Evil" not in response.headers
    assert system.worker.requests == []


async def test_a_camera_whose_ingest_is_not_up(system: System) -> None:
    response = await system.post("yard")
    assert "ingest" in await problem(response, 503)
    assert response.headers["Retry-After"] == "1"


async def test_no_worker(bare: System) -> None:
    await bare.add_ingest("front")
    response = await bare.post()
    assert "no media worker" in await problem(response, 503)
    assert response.headers["Retry-After"] == "1"


async def test_no_room(system: System) -> None:
    system.worker.report(cpu=0.95)
    await eventually(lambda: any(load.cpu > 0.9 for load in system.broker._loads()))
    response = await system.post()
    assert "limit" in await problem(response, 503)
    assert response.headers["Retry-After"] == "5"


@pytest.mark.parametrize(
    ("kind", "status"),
    [("bad-offer", 400), ("not-acceptable", 406), ("overloaded", 503), ("internal", 500)],
)
async def test_refusals_of_the_worker(system: System, kind: str, status: int) -> None:
    system.worker.reply = Refused(kind, "no H.264 in the offer")  # type: ignore[arg-type]
    assert await problem(await system.post(), status) == "no H.264 in the offer"


async def test_an_offer_that_a_worker_chokes_on_is_not_given_to_the_next(system: System) -> None:
    system.worker.silent = True
    second = await system.add_worker("w1")
    await problem(await system.post(), 504)
    assert second.sessions == {}
    # The worker is told to drop the session in case it was only slow.
    await eventually(lambda: any(isinstance(request, CloseRequest) for request in system.worker.requests))


async def test_no_worker_answers(system: System) -> None:
    system.worker.silent = True
    await problem(await system.post(), 504)


async def test_a_full_worker_is_passed_over(system: System) -> None:
    system.worker.reply = Refused("overloaded", "full")
    await system.add_worker("w1")
    assert (await system.post()).status == 201


async def test_two_viewers_land_on_two_workers(system: System) -> None:
    second = await system.add_worker("w1")
    responses = await asyncio.gather(system.post(), system.post())
    assert [response.status for response in responses] == [201, 201]
    assert (len(system.worker.sessions), len(second.sessions)) == (1, 1)


async def _session_url(system: System) -> str:
    response = await system.post()
    return urljoin(f"{system.url}/whep/front", response.headers["Location"])


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": PATCH_TYPE}, FRAGMENT, 428),
        ({"Content-Type": PATCH_TYPE, "If-Match": '"other"'}, FRAGMENT, 412),
        ({"Content-Type": PATCH_TYPE, "If-Match": 'W/"srv1"'}, FRAGMENT, 412),
        ({"Content-Type": PATCH_TYPE, "If-Match": '"other", "srv1"'}, FRAGMENT, 204),
        ({"Content-Type": PATCH_TYPE, "If-Match": "*"}, FRAGMENT, 204),
        ({"Content-Type": PATCH_TYPE, "If-Match": "*"}, FRAGMENT.replace("vwr1", "new1"), 422),
        ({"Content-Type": PATCH_TYPE, "If-Match": "*"}, "not a fragment", 400),
        ({"Content-Type": PATCH_TYPE, "If-Match": "*"}, "", 400),
        ({"Content-Type": PATCH_TYPE, "If-Match": "*"}, "a" * (900 << 10), 413),
        ({"Content-Type": "application/sdp", "If-Match": "*"}, FRAGMENT, 415),
    ],
)
async def test_patch(system: System, headers: dict[str, str], body: str, status: int) -> None:
    response = await system.client.patch(await _session_url(system), data=body, headers=headers)
    assert response.status == status


async def test_a_session_belongs_to_its_camera(system: System) -> None:
    url = (await _session_url(system)).replace("/front/", "/yard/")
    await problem(await system.client.delete(url), 404)
    assert len(system.worker.sessions) == 1


async def test_patch_of_a_session_that_the_worker_lost(system: System) -> None:
    url = await _session_url(system)
    system.worker.sessions.clear()
    headers = {"Content-Type": PATCH_TYPE, "If-Match": "*"}
    await problem(await system.client.patch(url, data=FRAGMENT, headers=headers), 404)


async def test_delete_of_a_session_that_just_ended(system: System) -> None:
    url = await _session_url(system)
    system.worker.sessions.clear()
    assert (await system.client.delete(url)).status == 200


async def test_a_dead_worker_takes_its_sessions_with_it(system: System) -> None:
    url = await _session_url(system)
    system.clock.now_s += 2.1
    system.broker.tick()
    await problem(await system.client.delete(url), 404)
    await problem(await system.client.get(f"{system.url}/healthz"), 503)


async def test_sessions_survive_a_restart_of_signaling(system: System) -> None:
    url = await _session_url(system)
    path = url.removeprefix(system.url)
    await system.stop()
    await system.start()
    # Until the worker has spoken nobody can know the session: not the same as its being gone.
    response = await system.client.delete(system.url + path)
    if response.status != 200:
        await problem(response, 503)
        system.worker.report()
        async with asyncio.timeout(10):
            while not system.has_worker("w0"):
                await asyncio.sleep(0.05)
                system.worker.report()  # the first one may have gone to the server that died
        headers = {"Content-Type": PATCH_TYPE, "If-Match": '"srv1"'}
        patched = await system.client.patch(system.url + path, data=FRAGMENT, headers=headers)
        assert patched.status == 204
        assert (await system.client.delete(system.url + path)).status == 200
    assert system.worker.sessions == {}


def test_any_body_gets_a_documented_status(tmp_path: Path) -> None:
    bodies = st.binary(max_size=300) | st.text(max_size=200).map(lambda text: f"v=0\r\n{text}".encode())

    async def send(system: System, body: bytes) -> int:
        async with await system.post(body=body) as response:
            return response.status

    with asyncio.Runner() as runner:
        system = runner.run(started(tmp_path))

        @settings(max_examples=60)
        @given(bodies)
        def fuzz(body: bytes) -> None:
            assert runner.run(send(system, body)) in {201, 400}

        try:
            fuzz()
        finally:
            runner.run(system.close())


async def test_a_session_is_its_viewers_and_the_operators(tmp_path: Path) -> None:
    known = [UserConfig(name, "viewer", ("front",)) for name in ("anna", "bert")]
    system = await started(tmp_path, config=users(*known, UserConfig("olga", "operator")))
    try:
        async with await system.post(user="anna") as response:
            url = urljoin(f"{system.url}/whep/front", response.headers["Location"])
        headers = {"Content-Type": PATCH_TYPE, "If-Match": "*"}
        unknown = f"{system.url}/whep/front/unknown"
        for asked in (url, unknown):
            patched = await system.client.patch(asked, data=FRAGMENT, headers={**headers, USER: "bert"})
            assert "no such session" in await problem(patched, 404)
            deleted = await system.client.delete(asked, headers={USER: "bert"})
            assert "no such session" in await problem(deleted, 404)
        patched = await system.client.patch(url, data=FRAGMENT, headers={**headers, USER: "anna"})
        assert patched.status == 204
        async with system.client.delete(url, headers={USER: "olga"}) as response:
            assert response.status == 200
        await problem(await system.post("yard", user="anna"), 404)
    finally:
        await system.close()


async def test_the_token_of_a_link_goes_on_in_the_location(tmp_path: Path) -> None:
    system = await started(tmp_path, config=users())
    try:
        token, link = system.authority.links.create("front", 600, "olga", "")
        url = f"{system.url}/whep/front?token={token}"
        headers = {"Content-Type": "application/sdp"}
        async with system.client.post(url, data=OFFER, headers=headers) as response:
            assert response.status == 201
            session_url = urljoin(url, response.headers["Location"])
        await problem(await system.client.delete(session_url.partition("?")[0]), 401)
        async with system.client.delete(session_url) as response:
            assert response.status == 200
        assert (await system.client.post(url, data=OFFER, headers=headers)).status == 201
        system.authority.links.revoke(link.id)
        system.authority.changed()
        assert system.broker.sessions.all() == []
        await problem(await system.client.post(url, data=OFFER, headers=headers), 401)
    finally:
        await system.close()
