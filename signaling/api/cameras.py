"""Cameras: the list and the report for viewers; settings and their order for admins."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from common.messages import SettingsEntry
from signaling import events
from signaling.access.authority import Authority
from signaling.access.gate import no_camera
from signaling.access.request_keys import ADDRESS, PRINCIPAL
from signaling.broker import Broker
from signaling.json_body import member, only, read_object
from signaling.problems import Problem
from signaling.workers import CameraStatus

Member = str | int | float | None

_ETAG = re.compile(r'\s*"([\x21\x23-\x7e]{1,64})"\s*')


def error_of(status: CameraStatus) -> str | None:
    """Why there is no picture."""
    return status.error_of(status.main)


def camera_members(status: CameraStatus, viewers: int) -> dict[str, Member | list[str] | dict[str, Member]]:
    """One camera of `GET /api/v1/cameras`, by its main stream; bitrate in bit/s, gop_s and age in s."""
    video = status.main.video if status.main else None
    audio = status.main.audio if status.main else None
    age_s = status.age_s(status.main)
    return {
        "name": status.name,
        "state": status.state,
        "renditions": [known.name for known in status.formats],
        "codec": video.codec if video else None,
        "profile": video.profile if video else None,
        "width": video.width if video else None,
        "height": video.height if video else None,
        "fps": video.fps if video else None,
        "bitrate": video.bitrate if video else None,
        "gop_s": video.gop_s if video else None,
        "audio": audio.codec if audio else None,
        "age": round(age_s, 3) if age_s is not None else None,
        "lost": status.main.lost_packets if status.main else None,
        "viewers": viewers,
        "error": error_of(status),
        "sub": _sub_members(status),
    }


def _sub_members(status: CameraStatus) -> dict[str, Member] | None:
    """What tells whether the sub stream will do; its figures are known once somebody has watched it."""
    sub = next((rendition for rendition in status.renditions if rendition.name == "sub"), None)
    if sub is None:
        return None
    video = sub.video
    return {
        "state": "down" if status.state == "down" else sub.state,
        "codec": video.codec if video else None,
        "width": video.width if video else None,
        "height": video.height if video else None,
        "fps": video.fps if video else None,
        "bitrate": video.bitrate if video else None,
        "gop_s": video.gop_s if video else None,
    }


def _order_response(names: Sequence[str]) -> web.Response:
    return web.json_response({"order": names}, headers={"ETag": f'"{_order_tag(names)}"'})


def _order_tag(names: Sequence[str]) -> str:
    return hashlib.sha256("/".join(names).encode()).hexdigest()[:20]


def entry_response(entry: SettingsEntry, status: int = 200, location: str | None = None) -> web.Response:
    """A camera or user of the configuration, with its entity tag (RFC 9110 section 8.8.3)."""
    headers = {"ETag": f'"{entry.etag}"'}
    if location is not None:
        headers["Location"] = location
    return web.json_response(
        {"name": entry.name, **json.loads(entry.content)}, status=status, headers=headers
    )


def not_modified(request: web.Request, etag: str) -> bool:
    """True when the client has what has this tag already (RFC 9110 section 13.1.2)."""
    tags = request.headers.get("If-None-Match", "")
    return any((found := _ETAG.fullmatch(tag)) and found[1] == etag for tag in tags.split(","))


def wanted_etag(request: web.Request) -> str | None:
    """What must be there for the change: an entity tag, `new` for nothing, None for anything.

    Raises Problem 400 for conditions that mean nothing here, 428 when there is none (RFC 6585 section 3): two
    people who edit at once must not undo each other's work.
    """
    match, none_match = request.headers.get("If-Match"), request.headers.get("If-None-Match")
    if none_match is not None:
        if none_match.strip() != "*" or match is not None:
            raise Problem(400, "If-None-Match can only be * here, and without If-Match")
        return "new"
    if match is None:
        raise Problem(
            428, "send If-None-Match: * to create, or If-Match with the ETag of what you have read to replace"
        )
    if match.strip() == "*":
        return None
    found = _ETAG.fullmatch(match)
    if found is None:
        raise Problem(400, "If-Match takes one ETag as GET gave it, with its quotes")
    return found[1]


async def put_entry(
    broker: Broker, request: web.Request, kind: Any, name: str, content: dict[str, Any]
) -> web.Response:
    """Writes an entry of the configuration under the request's condition."""
    etag = wanted_etag(request)
    if etag is None:
        await broker.entries(kind, name)  # If-Match: * wants that there is something
    (entry,) = await broker.edit(kind, name, json.dumps(content), etag, request[PRINCIPAL].name)
    return entry_response(entry, 201 if etag == "new" else 200, name if etag == "new" else None)


async def delete_entry(broker: Broker, request: web.Request, kind: Any, name: str) -> web.Response:
    """Removes an entry under the request's condition; raises Problem 428 without one."""
    if "If-Match" not in request.headers:
        raise Problem(428, "send If-Match with the ETag of what you have read, or * for whatever is there")
    etag = wanted_etag(request)
    await broker.edit(kind, name, None, etag, request[PRINCIPAL].name)
    return web.Response(status=204)


class Cameras:
    """The handlers."""

    def __init__(self, broker: Broker, authority: Authority) -> None:
        self._broker = broker
        self._authority = authority

    def routes(self) -> list[web.RouteDef]:
        """Where the handlers belong."""
        return [
            web.get("/api/v1/cameras", self._list),
            web.get("/api/v1/cameras/{camera}", self._get),
            web.put("/api/v1/cameras/{camera}", self._put),
            web.delete("/api/v1/cameras/{camera}", self._delete),
            web.get("/api/v1/cameras/{camera}/report", self._report),
            web.get("/api/v1/cameras-order", self._get_order),
            web.put("/api/v1/cameras-order", self._put_order),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        viewers = self._broker.sessions.count_by_camera()
        listed = self._broker.visible(request[PRINCIPAL])
        return web.json_response([camera_members(status, viewers[status.name]) for status in listed])

    async def _report(self, request: web.Request) -> web.Response:
        """All that is measured of a camera (messages.RenditionReport), and its latest changes of state."""
        name = request.match_info["camera"]
        if not self._broker.registry.has_camera(name):
            raise no_camera(name)
        status = self._broker.registry.status(name)
        return web.json_response(
            {
                "camera": name,
                "state": status.state,
                "error": error_of(status),
                "viewers": self._broker.sessions.count_by_camera()[name],
                "renditions": [dataclasses.asdict(rendition) for rendition in status.renditions],
                "events": [events.members(event) for event in self._broker.events.of_camera(name)],
            }
        )

    async def _get(self, request: web.Request) -> web.Response:
        (entry,) = await self._broker.entries("camera", request.match_info["camera"])
        if not_modified(request, entry.etag):
            return web.Response(status=304, headers={"ETag": f'"{entry.etag}"'})
        return entry_response(entry)

    async def _put(self, request: web.Request) -> web.Response:
        name = request.match_info["camera"]
        content = await read_object(request)
        if content.get("name", name) != name:
            raise Problem(422, "name: is another one than in the path; a camera cannot be renamed")
        content.pop("name", None)
        response = await put_entry(self._broker, request, "camera", name, content)
        self._authority.audit.record("put-camera", request[PRINCIPAL], request[ADDRESS], camera=name)
        return response

    async def _delete(self, request: web.Request) -> web.Response:
        name = request.match_info["camera"]
        response = await delete_entry(self._broker, request, "camera", name)
        self._authority.audit.record("delete-camera", request[PRINCIPAL], request[ADDRESS], camera=name)
        return response

    async def _get_order(self, request: web.Request) -> web.Response:
        names = self._broker.registry.cameras
        if not_modified(request, _order_tag(names)):
            return web.Response(status=304, headers={"ETag": f'"{_order_tag(names)}"'})
        return _order_response(names)

    async def _put_order(self, request: web.Request) -> web.Response:
        """Moves the cameras in the file. All of them must be named; a condition may be given, and holds."""
        content = await read_object(request)
        only(content, "order")
        wanted = member(content, "order", list)
        if not all(isinstance(name, str) for name in wanted):
            raise Problem(422, "order: must be a list of names of cameras")
        etag = wanted_etag(request) if "If-Match" in request.headers else None
        before = self._broker.registry.cameras
        if etag not in (None, _order_tag(before)):
            raise Problem(412, "the cameras stand in another order now; read it again")
        principal = request[PRINCIPAL]
        state = await self._broker.order(wanted, before if etag is not None else None, principal.name)
        self._authority.audit.record("order-cameras", principal, request[ADDRESS])
        return _order_response(state.cameras)
