"""A sink that keeps what it is told."""

import asyncio


class RecordingSink:
    """`calls` in their order, each with its name first."""

    def __init__(self):
        self.calls = []
        self.tracks = ()
        self.via = None
        self.remarks = None
        self.called = asyncio.Event()

    @property
    def all_frames(self):
        """(track, frame) in order."""
        return [(call[1], frame) for call in self.calls if call[0] == "frames" for frame in call[2]]

    def _note(self, *call):
        self.calls.append(call)
        self.called.set()

    def playing(self, tracks, via, remarks=None):
        self.tracks, self.via, self.remarks = tracks, via, remarks
        self._note("playing", via)

    def frames(self, track, frames):
        self._note("frames", track, frames)

    def restarted(self, track):
        self._note("restarted", track)

    def sender_report(self, track, report, arrival_ns):
        self._note("sender_report", track, report, arrival_ns)

    async def until(self, reached):
        """Waits, at most 20 s, until `reached()` holds."""
        async with asyncio.timeout(20):
            while not reached():
                self.called.clear()
                await self.called.wait()
