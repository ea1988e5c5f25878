"""The streams of a worker: opened for the first viewer, closed some time after the last."""

import asyncio
import logging
from collections import Counter

from common.messages import Rendition
from fanout.egress import Egress
from fanout.stream import Stream

log = logging.getLogger(__name__)

LINGER_S = 5.0  # a page that is reloaded finds the stream still there


class StreamPool:
    """Streams by camera and rendition."""

    def __init__(self, worker: str, egress: Egress) -> None:
        self._worker = worker
        self._egress = egress
        self._loop = asyncio.get_running_loop()
        self._streams: dict[tuple[str, Rendition], Stream] = {}
        self._users: Counter[Stream] = Counter()
        self._lingering: dict[Stream, asyncio.TimerHandle] = {}

    @property
    def octets(self) -> int:
        """Memory held for joins and retransmissions."""
        return sum(stream.octets for stream in self._streams.values())

    @property
    def cameras(self) -> tuple[str, ...]:
        """Those of the streams, each once."""
        return tuple(dict.fromkeys(camera for camera, _ in self._streams))

    def bitrate(self, camera: str, rendition: Rendition) -> int | None:
        """Bits per second of a stream's video; None while it is not known."""
        stream = self._streams.get((camera, rendition))
        return stream.video.bitrate or None if stream is not None else None

    def acquire(self, camera: str, rendition: Rendition, endpoint: str) -> Stream:
        """The stream, subscribed; every `acquire` needs a `release`."""
        stream = self._streams.get((camera, rendition))
        if stream is None:
            log.info("= camera %s %s: subscribed", camera, rendition, extra={"camera": camera})
            stream = Stream(camera, rendition, self._worker, endpoint, self._egress)
            self._streams[camera, rendition] = stream
        lingering = self._lingering.pop(stream, None)
        if lingering is not None:
            lingering.cancel()
        self._users[stream] += 1
        return stream

    def release(self, stream: Stream) -> None:
        """One user less."""
        self._users[stream] -= 1
        if not self._users[stream]:
            del self._users[stream]
            self._lingering[stream] = self._loop.call_later(LINGER_S, self._close, stream)

    def _close(self, stream: Stream) -> None:
        log.info(
            "= camera %s %s: released, nobody watches",
            stream.camera,
            stream.rendition,
            extra={"camera": stream.camera},
        )
        self._lingering.pop(stream, None)
        del self._streams[stream.camera, stream.rendition]
        stream.close()

    def close(self) -> None:
        """Closes all of them."""
        for handle in self._lingering.values():
            handle.cancel()
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()
