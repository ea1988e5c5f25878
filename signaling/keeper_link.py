"""What signaling asks of the keeper, the one process that writes the configuration (docs/architecture.md)."""

import asyncio
import contextlib
import logging

from common.bus import BusTimeout, ControlServer, PeerUnreachable
from common.clock import Clock
from common.messages import (
    EditRequest,
    HelloWanted,
    Message,
    OrderRequest,
    Refused,
    ReloadRequest,
    Settings,
    SettingsEntry,
    SettingsKind,
    SettingsRequest,
    SettingsState,
)
from signaling.placement import unexpected
from signaling.problems import RETRY_SOON_S, Problem, from_refusal

log = logging.getLogger(__name__)

IDENTITY = "keeper"
PING_S = 1.0
SILENCE_S = 3.0
DEADLINE_S = 10.0
"An edit ends with programs added to supervisord, or the reason why not."
PING = SettingsRequest("camera", "")
"No camera has this name."


class KeeperLink:
    """Requests to the keeper, and whether it lives.

    It speaks only when something changes, so it is asked for a sign of life: for its hello while that is not
    known, else for nothing in particular.
    """

    def __init__(self, control: ControlServer, clock: Clock) -> None:
        self._control = control
        self._clock = clock
        self._heard_s: float | None = None
        self._pinged_s: float | None = None
        self._ping: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Asks nothing any more."""
        if self._ping is not None:
            self._ping.cancel()

    def heard(self) -> None:
        """It said something."""
        self._heard_s = self._clock.monotonic_s()

    def forgive(self, late_s: float) -> None:
        """This process itself stood still for `late_s`."""
        if self._heard_s is not None:
            self._heard_s += late_s

    def lives(self, known: bool) -> bool:
        """False when it has been silent for too long. `known`: its state is; to be called on each tick."""
        now_s = self._clock.monotonic_s()
        if self._pinged_s is None or now_s - self._pinged_s >= PING_S:
            self._pinged_s = now_s
            if not known:
                self._control.notify(IDENTITY, HelloWanted())
            elif self._ping is None or self._ping.done():
                self._ping = asyncio.get_running_loop().create_task(self._send_ping())
        return self._heard_s is not None and now_s - self._heard_s <= SILENCE_S

    async def _send_ping(self) -> None:
        with contextlib.suppress(BusTimeout):
            await self._control.request(IDENTITY, PING, SILENCE_S)
            self.heard()

    async def entries(self, kind: SettingsKind, name: str | None) -> tuple[SettingsEntry, ...]:
        """The cameras or users of the file, or one of them; raises Problem 404 or 503."""
        return _entries(await self._ask(SettingsRequest(kind, name)))

    async def edit(self, edit: EditRequest) -> tuple[SettingsEntry, ...]:
        """Changes the file; gives what is in it then. Raises Problem 404, 409, 412, 422, 500 or 503."""
        return _entries(await self._ask(edit))

    async def order(self, order: OrderRequest) -> SettingsState:
        """Puts the cameras of the file in order; raises Problem 409, 412, 422, 500 or 503."""
        return _state(await self._ask(order))

    async def reload(self) -> SettingsState:
        """Has the file read now; raises Problem 503."""
        return _state(await self._ask(ReloadRequest()))

    async def _ask(self, message: Message) -> Message:
        try:
            reply = await self._control.request(IDENTITY, message, DEADLINE_S)
        except PeerUnreachable:
            raise Problem(
                503, "the keeper of the configuration is not up; it is started again", RETRY_SOON_S
            ) from None
        except BusTimeout as exc:
            log.warning("! configuration: %s", exc)
            raise Problem(
                503,
                f"the keeper of the configuration did not answer within {DEADLINE_S:g} s; "
                "look whether it did what was asked before asking again",
                RETRY_SOON_S,
            ) from None
        if isinstance(reply, Refused):
            raise from_refusal(reply)
        return reply


def _state(reply: Message) -> SettingsState:
    if isinstance(reply, SettingsState):
        return reply
    raise unexpected(IDENTITY, reply)


def _entries(reply: Message) -> tuple[SettingsEntry, ...]:
    if isinstance(reply, Settings):
        return reply.entries
    raise unexpected(IDENTITY, reply)
