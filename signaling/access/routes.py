"""Logging in and out, who one is, and view links."""

import dataclasses
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from common.config import CAMERA_NAME
from signaling.access import links
from signaling.access.authority import COOKIE, Authority
from signaling.access.links import LONGEST_S, SHORTEST_S, Link
from signaling.access.request_keys import ADDRESS, PRINCIPAL
from signaling.json_body import member, only, read_object
from signaling.problems import Problem

MAX_BODY_BYTES = 8192
MAX_NOTE = 200


class AccessRoutes:
    """The handlers."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    def routes(self) -> list[web.RouteDef]:
        """Where the handlers belong."""
        return [
            web.post("/api/v1/login", self._login),
            web.post("/api/v1/logout", self._logout),
            web.get("/api/v1/me", self._me),
            web.get("/api/v1/links", self._list_links),
            web.post("/api/v1/links", self._create_link),
            web.delete("/api/v1/links/{link}", self._revoke_link),
            web.get("/view", self._view),
        ]

    async def _login(self, request: web.Request) -> web.Response:
        content = await read_object(request, MAX_BODY_BYTES)
        only(content, "user", "password")
        user, password = member(content, "user", str), member(content, "password", str)
        token, login = await self._authority.login(user, password, request[ADDRESS])
        response = web.Response(status=204)
        # That it is used the browser is not told; the server ends what is not.
        self._set_cookie(request, response, token, login.longest_at)
        return response

    async def _logout(self, request: web.Request) -> web.Response:
        cookie = request.cookies.get(COOKIE)
        if cookie is not None:
            self._authority.logout(cookie, request[ADDRESS])
        response = web.Response(status=204)
        response.del_cookie(COOKIE, path=self._path(request))
        return response

    async def _me(self, request: web.Request) -> web.Response:
        principal = request[PRINCIPAL]
        return web.json_response(
            {
                "name": principal.name,
                "kind": principal.kind,
                "role": principal.role,
                "cameras": list(principal.cameras),
                "expires_at": principal.expires_at,
                "configures": principal.may("admin"),
            }
        )

    async def _list_links(self, request: web.Request) -> web.Response:
        return web.json_response({"links": [_shown(link) for link in self._authority.links.all()]})

    async def _create_link(self, request: web.Request) -> web.Response:
        content = await read_object(request, MAX_BODY_BYTES)
        only(content, "camera", "seconds", "note")
        camera, seconds = member(content, "camera", str), member(content, "seconds", int)
        note = member(content, "note", str, "")
        if not CAMERA_NAME.fullmatch(camera):
            raise Problem(422, "camera: is not a camera's name")
        if not SHORTEST_S <= seconds <= LONGEST_S:
            raise Problem(422, f"seconds: is {seconds}; allowed: {SHORTEST_S} to {LONGEST_S}")
        if len(note) > MAX_NOTE or not note.isprintable():
            raise Problem(422, f"note: at most {MAX_NOTE} printable characters")
        principal = request[PRINCIPAL]
        try:
            token, link = self._authority.links.create(camera, seconds, principal.name, note)
        except ValueError as exc:
            raise Problem(409, str(exc)) from None
        self._authority.audit.record("link", principal, request[ADDRESS], camera=camera, link=link.id)
        url = f"{self._authority.base_url(request)}/view?token={token}"
        return web.json_response({**_shown(link), "token": token, "url": url}, status=201)

    async def _revoke_link(self, request: web.Request) -> web.Response:
        link = self._authority.links.get(request.match_info["link"])
        if link is None:
            raise Problem(404, "there is no such link; it may have expired")
        self._authority.links.revoke(link.id)
        self._authority.audit.record(
            "revoke-link", request[PRINCIPAL], request[ADDRESS], camera=link.camera, link=link.id
        )
        self._authority.changed()
        return web.Response(status=204)

    async def _view(self, request: web.Request) -> web.Response:
        """A browser that follows a view link gets the token as a cookie and the page."""
        token = request.query.get("token", "")
        link = self._authority.links.find(token) if token.startswith(links.PREFIX) else None
        if link is None:
            raise Problem(401, "the link has expired or was revoked; ask for another one")
        response = web.Response(status=303, headers={"Location": f"./#{link.camera}"})
        self._set_cookie(request, response, token, link.expires_at)
        return response

    def _path(self, request: web.Request) -> str:
        return (urlsplit(self._authority.base_url(request)).path or "") + "/"

    def _set_cookie(
        self, request: web.Request, response: web.Response, token: str, expires_at: float
    ) -> None:
        secure = self._authority.base_url(request).startswith("https:")
        response.set_cookie(
            COOKIE,
            token,
            path=self._path(request),
            max_age=max(0, int(expires_at - self._authority.now())),
            httponly=True,
            samesite="Lax",
            secure=secure,
        )


def _shown(link: Link) -> dict[str, Any]:
    shown = dataclasses.asdict(link)
    del shown["token"]
    return shown
