"""Playing by WHEP from a page of another origin: by a token, where the configuration says so alone."""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
from aiohttp import ClientResponse
from signaling_support import FRAGMENT, OFFER, System, started

from access.support import EVERYBODY, configured
from common.access_config import SignalingConfig

INTRANET = "https://intranet.example"
CONFIG = dataclasses.replace(configured(*EVERYBODY), embed=("http://localhost:8081", INTRANET))
SDP = {"Content-Type": "application/sdp"}


@pytest.fixture
async def known(tmp_path: Path) -> AsyncIterator[System]:
    system = await started(tmp_path, CONFIG)
    yield system
    await system.close()


def link(system: System) -> dict[str, str]:
    """What a page of the intranet sends with a view link for the camera `front`."""
    token, _ = system.authority.links.create("front", 600, "anna", "")
    return {"Origin": INTRANET, "Authorization": f"Bearer {token}"}


async def preflight(
    system: System, path: str, origin: str = INTRANET, method: str = "POST"
) -> ClientResponse:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    return await system.client.options(system.url + path, headers=headers)


def cors(response: ClientResponse) -> dict[str, str]:
    return {
        name: value for name, value in response.headers.items() if name.startswith("Access-Control-Allow")
    }


async def test_a_session_from_offer_to_delete(known: System) -> None:
    sent, url = link(known), f"{known.url}/whep/front"
    async with known.client.post(url, data=OFFER, headers={**sent, **SDP}) as response:
        assert response.status == 201, await response.text()
        assert cors(response) == {"Access-Control-Allow-Origin": INTRANET}
        exposed = {name.strip() for name in response.headers["Access-Control-Expose-Headers"].split(",")}
        assert exposed >= {"Location", "ETag"} and response.headers["Vary"] == "Origin"
        session, tag = urljoin(url, response.headers["Location"]), response.headers["ETag"]
    patch = {**sent, "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": tag}
    async with known.client.patch(session, data=FRAGMENT, headers=patch) as response:
        assert (response.status, cors(response)) == (204, {"Access-Control-Allow-Origin": INTRANET})
    async with known.client.delete(session, headers=sent) as response:
        assert (response.status, cors(response)) == (200, {"Access-Control-Allow-Origin": INTRANET})


async def test_browsers_ask_beforehand_without_a_token(known: System) -> None:
    answers = []
    for path in ("/whep/front", "/whep/yard", "/whep/missing", "/whep/front/unknown"):
        async with await preflight(known, path) as response:
            assert response.status == 204 and not await response.read()
            answers.append(cors(response))
    assert answers == [answers[0]] * 4  # nothing is said of the camera
    assert answers[0] == {
        "Access-Control-Allow-Origin": INTRANET,
        "Access-Control-Allow-Methods": "POST, PATCH, DELETE",
        "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
    }


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://intranet.example",
        "https://intranet.example:8443",
        "https://intranet.example.evil.example",
        "https://INTRANET.example",
        "null",
        "*",
        "",
    ],
)
async def test_other_origins_are_told_nothing(known: System, origin: str) -> None:
    async with await preflight(known, "/whep/front", origin) as response:
        assert (response.status, cors(response)) == (401, {})
    headers = {**link(known), **SDP, "Origin": origin}
    async with known.client.post(f"{known.url}/whep/front", data=OFFER, headers=headers) as response:
        assert cors(response) == {} and "Access-Control-Expose-Headers" not in response.headers


async def test_a_page_may_read_why_it_is_refused(known: System) -> None:
    for path, headers, status in (
        ("/whep/front", {"Origin": INTRANET}, 401),
        ("/whep/yard", link(known), 404),
        ("/whep/front", {**link(known), "Content-Type": "text/plain"}, 415),
    ):
        async with known.client.post(known.url + path, data=OFFER, headers={**SDP, **headers}) as response:
            assert (response.status, cors(response)) == (status, {"Access-Control-Allow-Origin": INTRANET})


async def test_only_whep(known: System) -> None:
    sent = link(known)
    for path in ("/", "/embed/front", "/login", "/healthz", "/api/v1/me", "/api/v1/cameras", "/nowhere"):
        async with known.client.get(known.url + path, headers=sent) as response:
            assert cors(response) == {}, path
        async with await preflight(known, path, method="GET") as response:
            assert response.status in (404, 405) and cors(response) == {}, path
    async with known.client.get(f"{known.url}/ws", headers=sent) as response:
        assert (response.status, cors(response)) == (403, {})


async def test_a_cookie_or_no_login_at_all_is_no_token(tmp_path: Path) -> None:
    system = await started(tmp_path, SignalingConfig(embed=(INTRANET,)))
    try:
        url, headers = f"{system.url}/whep/front", {**SDP, "Origin": INTRANET}
        async with system.client.post(url, data=OFFER, headers=headers) as response:
            assert response.status == 403
            assert "token" in (await response.json(content_type=None))["detail"]
        async with system.client.post(url, data=OFFER, headers={**headers, **link(system)}) as response:
            assert response.status == 201
    finally:
        await system.close()


async def test_the_configuration_is_followed(known: System) -> None:
    known.authority.configure(dataclasses.replace(CONFIG, embed=()))
    async with await preflight(known, "/whep/front") as response:
        assert (response.status, cors(response)) == (401, {})
    known.authority.configure(dataclasses.replace(CONFIG, embed=("https://evil.example",)))
    async with await preflight(known, "/whep/front", "https://evil.example") as response:
        assert response.status == 204
