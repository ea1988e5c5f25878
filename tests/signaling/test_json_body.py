"""JSON objects in requests: anything else is refused with a reason, and nothing harms."""

import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given, settings
from hypothesis import strategies as st

from signaling.http_body import problems
from signaling.json_body import MAX_BODY_BYTES, member, only, read_object
from signaling.problems import Problem

JSON = {"Content-Type": "application/json"}


async def echo(request: web.Request) -> web.Response:
    return web.json_response(await read_object(request))


def application() -> web.Application:
    app = web.Application(middlewares=[problems])
    app.add_routes([web.post("/", echo)])
    return app


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"a": 1}', 200),
        (b"", 400),
        (b"{", 400),
        (b"NaN", 400),
        (b'{"a": Infinity}', 400),
        (b"\xff", 400),
        (b"[" * 50_000, 400),
        (b"[]", 422),
        (b'"text"', 422),
        (b'{"a": 1, "a": 2}', 422),
        (b'{"a": {"b": 1, "b": 1}}', 422),
        (b'{"a": "\\ud800"}', 422),
        (b" " * (MAX_BODY_BYTES + 1), 413),
    ],
)
async def test_bodies(body: bytes, status: int) -> None:
    async with (
        TestClient(TestServer(application())) as client,
        client.post("/", data=body, headers=JSON) as response,
    ):
        assert response.status == status
        assert (await response.json(content_type=None)).keys()


async def test_any_octets_and_any_object() -> None:
    async with TestClient(TestServer(application())) as client:

        async def post(body: bytes) -> int:
            async with client.post("/", data=body, headers=JSON) as response:
                await response.read()
                return response.status

        values = st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
            lambda children: st.lists(children) | st.dictionaries(st.text(max_size=5), children),
            max_leaves=8,
        )

        @settings(max_examples=60, database=None)
        @given(st.lists(st.binary(max_size=60), max_size=1), values)
        def collect(octets: list[bytes], value: object) -> None:
            bodies.extend(octets)
            objects.append({"value": value})

        bodies: list[bytes] = []
        objects: list[dict[str, object]] = []
        collect()
        for body in bodies:
            assert await post(body) in (200, 400, 422)
        for content in objects:
            assert await post(json.dumps(content).encode()) == 200


def test_members() -> None:
    content = {"name": "a", "number": 1}
    only(content, "name", "number")
    assert member(content, "name", str) == "a" and member(content, "note", str, "") == ""
    for wrong in (lambda: only(content, "name"), lambda: member(content, "number", bool)):
        with pytest.raises(Problem) as raised:
            wrong()
        assert raised.value.status == 422
    with pytest.raises(Problem, match="note: is missing"):
        member(content, "note", str)
