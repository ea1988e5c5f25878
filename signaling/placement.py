"""Where a viewer goes: an offer is put to the worker with the most headroom, then to another one."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

from common.bus import BusTimeout, PeerUnreachable
from common.clock import Clock
from common.messages import Answer, Message, OfferRequest, Refused
from signaling import routing
from signaling.problems import RETRY_SOON_S, RETRY_WHEN_FULL_S, Problem, from_refusal
from signaling.sessions import SessionTable
from signaling.worker_calls import WorkerCalls
from signaling.workers import Registry

log = logging.getLogger(__name__)

OFFER_ATTEMPTS = 2


class _Offer(NamedTuple):
    worker: str
    camera: str
    since_s: float


class Placement:
    """Puts offers to workers; `abandon(worker, session)` is called for those that nobody waits for."""

    def __init__(
        self,
        registry: Registry,
        sessions: SessionTable,
        calls: WorkerCalls,
        clock: Clock,
        abandon: Callable[[str, str], None],
    ) -> None:
        self._clock = clock
        self._registry = registry
        self._sessions = sessions
        self._calls = calls
        self._abandon = abandon
        self._offers: dict[str, _Offer] = {}
        "Under way, by session; the oldest first."

    def loads(self) -> list[routing.Load]:
        """What is known of each live worker; offers under way count as viewers."""
        now_s = self._clock.monotonic_s()
        watched = Counter((session.worker, session.camera) for session in self._sessions.all())
        unanswered_s: dict[str, float] = {}
        for offer in self._offers.values():
            watched[offer.worker, offer.camera] += 1
            unanswered_s.setdefault(offer.worker, now_s - offer.since_s)
        viewers = Counter[str]()
        cameras: dict[str, set[str]] = {}
        for (worker, camera), count in watched.items():
            viewers[worker] += count
            cameras.setdefault(worker, set()).add(camera)
        return [
            routing.Load(
                worker.identity,
                worker.reports,
                worker.waits,
                viewers[worker.identity],
                frozenset(cameras.get(worker.identity, ())).union(
                    worker.report.cameras if worker.report else ()
                ),
                self._registry.silence_s(worker),
                unanswered_s.get(worker.identity, 0.0),
                worker.draining,
            )
            for worker in self._registry.workers()
        ]

    def has_room_without(self, worker: str) -> bool:
        """True when another worker can take a viewer."""
        return any(load.has_room for load in self.loads() if load.worker != worker)

    async def place(self, request: OfferRequest) -> tuple[str, Answer]:
        """The worker that takes the viewer, and its answer; raises Problem when none does."""
        failed: dict[str, Problem] = {}
        while len(failed) < OFFER_ATTEMPTS:
            worker = routing.choose(self.loads(), request.camera, without=failed)
            if worker is None:
                break
            match await self._offer(worker, request):
                case Answer() as answer:
                    return worker, answer
                case problem:
                    failed[worker] = problem
        if failed:
            raise list(failed.values())[-1]
        workers = self._registry.workers()
        if not workers:
            raise Problem(503, "no media worker is up; they are started again", RETRY_SOON_S)
        if all(worker.draining for worker in workers):
            raise Problem(503, "every media worker is draining and takes no viewers", RETRY_WHEN_FULL_S)
        raise Problem(503, "the server is full: every media worker is at its limit", RETRY_WHEN_FULL_S)

    async def _offer(self, worker: str, request: OfferRequest) -> Answer | Problem:
        """One worker's answer, or why another one should be tried; raises Problem when none should."""
        about = {"session": f"{request.session[:6]}…", "camera": request.camera, "worker": worker}
        self._offers[request.session] = _Offer(worker, request.camera, self._clock.monotonic_s())
        try:
            reply = await self._calls.request(worker, request)
        except PeerUnreachable as exc:
            log.warning("! offer for %s: %s", request.camera, exc, extra=about)
            return Problem(503, "the media worker went away", RETRY_SOON_S)
        except BusTimeout as exc:
            # What one worker chokes on is not given to the next.
            log.warning("! offer for %s: %s", request.camera, exc, extra=about)
            self._abandon(worker, request.session)
            raise Problem(504, "the media worker did not answer in time", RETRY_SOON_S) from None
        except asyncio.CancelledError:
            # The viewer hung up while the worker was at it.
            self._abandon(worker, request.session)
            raise
        finally:
            del self._offers[request.session]
        match reply:
            case Answer():
                return reply
            case Refused(kind="overloaded"):
                return from_refusal(reply)
            case Refused():
                raise from_refusal(reply)
            case _:
                raise unexpected(worker, reply)


def unexpected(peer: str, reply: Message) -> Problem:
    """A peer answered with what is no answer to the request."""
    log.error("! control: %s answered with %s", peer, reply.TYPE)
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, f"{peer} gave an unexpected answer")
