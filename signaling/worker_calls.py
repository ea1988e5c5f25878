"""Requests to media workers that do not wait for an answer of the dead."""

import asyncio

from common.bus import ControlServer, PeerUnreachable
from common.messages import Message


class WorkerCalls:
    """Requests over the bus, each within `deadline_s`."""

    def __init__(self, control: ControlServer, deadline_s: float) -> None:
        self._control = control
        self._deadline_s = deadline_s
        self._deaths: dict[str, asyncio.Future[None]] = {}

    async def request(self, worker: str, message: Message) -> Message:
        """The worker's reply; raises BusTimeout when none comes, PeerUnreachable when the worker is gone."""
        death = self._deaths.setdefault(worker, asyncio.get_running_loop().create_future())
        reply = asyncio.ensure_future(self._control.request(worker, message, self._deadline_s))
        try:
            await asyncio.wait((reply, death), return_when=asyncio.FIRST_COMPLETED)
            if not reply.done():
                raise PeerUnreachable(f"{worker} died before it answered {message.TYPE}")
            return reply.result()
        finally:
            reply.cancel()

    def died(self, worker: str) -> None:
        """Ends what is under way to a worker."""
        death = self._deaths.pop(worker, None)
        if death is not None:
            death.set_result(None)
