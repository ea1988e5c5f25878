"""Users of the configuration: who may log in, as what; for admins."""

import asyncio
import json

from aiohttp import web

from signaling.access.authority import Authority
from signaling.access.passwords import MAX_PASSWORD, hash_password
from signaling.access.request_keys import ADDRESS, PRINCIPAL
from signaling.api.cameras import delete_entry, entry_response, not_modified, put_entry
from signaling.broker import Broker
from signaling.json_body import member, only, read_object
from signaling.problems import Problem

SHORTEST_PASSWORD = 10


class Users:
    """The handlers."""

    def __init__(self, broker: Broker, authority: Authority) -> None:
        self._broker = broker
        self._authority = authority
        self._hashing = asyncio.Lock()
        self._editing = asyncio.Lock()
        "Two admins who remove each other at once must not both find the other left."

    def routes(self) -> list[web.RouteDef]:
        """Where the handlers belong."""
        return [
            web.get("/api/v1/users", self._list),
            web.get("/api/v1/users/{user}", self._get),
            web.put("/api/v1/users/{user}", self._put),
            web.delete("/api/v1/users/{user}", self._delete),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        entries = await self._broker.entries("user", None)
        users = [{"name": entry.name, **json.loads(entry.content)} for entry in entries]
        return web.json_response({"users": users})

    async def _get(self, request: web.Request) -> web.Response:
        (entry,) = await self._broker.entries("user", request.match_info["user"])
        if not_modified(request, entry.etag):
            return web.Response(status=304, headers={"ETag": f'"{entry.etag}"'})
        return entry_response(entry)

    async def _put(self, request: web.Request) -> web.Response:
        name = request.match_info["user"]
        content = await read_object(request)
        only(content, "name", "role", "cameras", "password")
        if content.pop("name", name) != name:
            raise Problem(422, "name: is another one than in the path; a user cannot be renamed")
        if isinstance(content.get("password"), bool):
            del content["password"]  # as GET shows it: kept
        password = member(content, "password", str, None)
        if password is not None:
            if not SHORTEST_PASSWORD <= len(password) <= MAX_PASSWORD:
                raise Problem(422, f"password: {SHORTEST_PASSWORD} to {MAX_PASSWORD} characters")
            async with self._hashing:
                content["password"] = await asyncio.to_thread(hash_password, password)
        async with self._editing:
            await self._leave_an_admin(name, content.get("role", "viewer"), password is not None)
            response = await put_entry(self._broker, request, "user", name, content)
        self._authority.audit.record("put-user", request[PRINCIPAL], request[ADDRESS], name=name)
        return response

    async def _delete(self, request: web.Request) -> web.Response:
        name = request.match_info["user"]
        async with self._editing:
            await self._leave_an_admin(name, None, False)
            response = await delete_entry(self._broker, request, "user", name)
        self._authority.audit.record("delete-user", request[PRINCIPAL], request[ADDRESS], name=name)
        return response

    async def _leave_an_admin(self, name: str, role: object, password: bool) -> None:
        """Raises Problem 409 when nobody could change the configuration over the network any more.

        `role` is what the user shall have; `password`: they are given one.
        """
        users = {each.name: json.loads(each.content) for each in await self._broker.entries("user", None)}
        known = {each for each, user in users.items() if user["password"] or self._authority.vouched}
        admins = {each for each in known if users[each]["role"] == "admin"}
        enters = password or self._authority.vouched or name in known
        left = admins - {name} | ({name} if role == "admin" and enters else set())
        if not left and (admins or not users):
            raise Problem(
                409,
                "there would be no admin left who can log in; make somebody else one first, with a password",
            )
