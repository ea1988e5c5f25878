"""A camera tried out before it is saved: played for seconds by a process of its own (`ingest/trial.py`)."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

from aiohttp import web

from common.config import CAMERA_NAME
from common.lifecycle import EXIT_CONFIG
from signaling.access.authority import Authority
from signaling.access.request_keys import ADDRESS, PRINCIPAL
from signaling.api import child
from signaling.json_body import member, read_object
from signaling.problems import RETRY_SOON_S, Problem

log = logging.getLogger(__name__)

AT_A_TIME = 2
WAITING = 6
"Further requests are told to come again."
DEADLINE_S = 25.0
"12 s until the first picture, 4 s of play, and what a busy machine adds."
NOT_TRIED = (422, 503)
"Statuses of refusals before anything was sent to a camera."


class Probe:
    """The handler; `folder` is CCTV3_RUN."""

    def __init__(self, authority: Authority, folder: Path) -> None:
        self._authority = authority
        self._folder = folder
        self._places = asyncio.Semaphore(AT_A_TIME)
        self._under_way: set[asyncio.Task[dict[str, Any]]] = set()

    def routes(self) -> list[web.RouteDef]:
        """Where the handler belongs."""
        return [web.post("/api/v1/probe", self._post)]

    async def close(self) -> None:
        """Ends what is under way."""
        tasks = list(self._under_way)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _post(self, request: web.Request) -> web.Response:
        wish, principal = await read_object(request), request[PRINCIPAL]
        name = member(wish, "name", str, None)
        if name is not None and not CAMERA_NAME.fullmatch(name):
            raise Problem(422, f"name: {name[:60]!r} is no name for a camera")
        result: str | None = "no-answer"  # a login may have been sent, whatever becomes of the trial
        error: str | None = None
        try:
            found = await self._bounded(wish)
            result, error = found["kind"] or "ok", found["error"]
        except Problem as problem:
            if problem.status in NOT_TRIED:
                result = None
            raise
        finally:
            if result is not None:
                url = wish.get("url")
                self._authority.audit.record(
                    "probe",
                    principal,
                    request[ADDRESS],
                    camera=name,
                    result=result,
                    url=url if isinstance(url, str) else None,
                    error=error,
                )
        return web.json_response(found)

    async def _bounded(self, wish: dict[str, Any]) -> dict[str, Any]:
        if len(self._under_way) >= WAITING:
            raise Problem(503, "too many cameras are tried out at a time; try again", RETRY_SOON_S)
        task = asyncio.ensure_future(self._try(wish))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await task

    async def _try(self, wish: dict[str, Any]) -> dict[str, Any]:
        try:
            async with self._places:
                ended = await child.run(
                    "ingest.trial", [str(self._folder)], json.dumps(wish).encode(), DEADLINE_S
                )
        except TimeoutError:
            raise Problem(
                504, f"the camera was not tried out within {DEADLINE_S:g} s", RETRY_SOON_S
            ) from None
        if ended.status == EXIT_CONFIG:
            raise Problem(422, ended.said)
        try:
            found = json.loads(ended.out)
        except ValueError:
            log.warning("! trial of a camera: %s", ended.said[:200] or f"exit status {ended.status}")
            raise Problem(504, "the process that tried the camera out failed; the log says why") from None
        assert isinstance(found, dict)
        return found
