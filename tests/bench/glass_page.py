"""What a viewer page in Chromium saw: when its pictures came, and how old each was when it was shown.

The number drawn into a few pictures (tests.bench.clip) anchors RTP timestamps to the clip; timestamps tell
the numbers of all others, and the camera's log when each of them was sent. Nothing is taken from the capture
time that the server announces, so that can be checked too.
"""

import bisect
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from playwright.async_api import Browser

from tests.bench import pacing
from tests.support.browser import ViewerPage

SCRIPT = Path(__file__).with_suffix(".js")
NUMBERS_READ = 7
STAGES = ("offered", "answered", "answer taken", "ice connected", "connected", "picture")
NTP_TO_UNIX_MS = 2_208_988_800_000  # RFC 868: seconds from 1900 to 1970

# performance.now() of the page as UTC: Date.now() has whole milliseconds, so the largest difference is right.
_OFFSET = """() => {
    let most = 0;
    for (const end = performance.now() + 5; performance.now() < end;)
        most = Math.max(most, Date.now() - performance.now());
    return most;
}"""
_ASK = """(quality) => {
    const menu = document.querySelector(".tile.large .quality");
    menu.value = quality;
    const now = performance.now();
    menu.dispatchEvent(new Event("change"));
    return now;
}"""
_FIRST_OF_WIDTH = """([width, since]) =>
    glass.frames.find((frame) => frame.now > since && frame.width === width)?.now"""
_NOTES = """() => {
  // The page prepares its offer ahead of the wish; when the wish was, it tells.
  glass.marks.begun ??= glass.marks.picture - window.cctv3.chosen.firstFrameMs;
  return {...glass, peer: null, socket: null, inbound: null, leave: null};
}"""


class Frame(NamedTuple):
    """One picture as requestVideoFrameCallback told of it; times in ms of the page's clock."""

    now: float
    "When it was put on screen."
    display: float
    "When it was expected to be visible."
    capture: float | None
    "By Chromium, from sender reports and its round-trip time."
    timestamp: int
    "Of RTP, unwrapped."
    width: int


@dataclass(frozen=True, slots=True)
class Seen:
    """One page's notes."""

    marks: dict[str, float]
    frames: list[Frame]
    numbers: list[tuple[int, int]]
    "RTP timestamps and the numbers in their pictures."
    captures: list[tuple[int, float]]
    "RTP timestamps and their time of capture as the server announced it, UTC in ms."
    offset_ms: float
    "To be added to the page's clock for UTC."

    def stages(self) -> dict[str, float]:
        """Milliseconds from one step of the beginning to the next."""
        before = self.marks["begun"]
        steps = {}
        for name in STAGES:
            if name in self.marks:
                steps[name], before = self.marks[name] - before, self.marks[name]
        return steps

    def longest_gap_ms(self, since: float, until: float) -> float:
        """The longest time between two pictures in an interval of the page's clock."""
        times = [frame.now for frame in self.frames if since <= frame.now <= until]
        return max((b - a for a, b in itertools.pairwise(times)), default=0.0)


class GlassPage(ViewerPage):
    """A viewer page that takes notes."""

    async def seen(self) -> Seen:
        """Reads some numbers from the pictures of this moment and gives the notes of the session so far."""
        await self.page.evaluate(f"() => {{ glass.numbers = []; glass.reading = {NUMBERS_READ}; }}")
        await self.page.wait_for_function(f"() => glass.numbers.length >= {NUMBERS_READ}")
        notes = await self.page.evaluate(_NOTES)
        first: int = notes["frames"][0]["rtpTimestamp"]

        def unwrapped(timestamp: int) -> int:
            return first + ((timestamp - first + (1 << 31)) & 0xFFFF_FFFF) - (1 << 31)

        return Seen(
            notes["marks"],
            [
                Frame(
                    frame["now"],
                    frame["expectedDisplayTime"],
                    frame.get("captureTime"),
                    unwrapped(frame["rtpTimestamp"]),
                    frame["width"],
                )
                for frame in notes["frames"]
            ],
            [(unwrapped(timestamp), number) for timestamp, number in notes["numbers"]],
            [(unwrapped(timestamp), ntp - NTP_TO_UNIX_MS) for timestamp, ntp in notes["captures"]],
            await self.page.evaluate(_OFFSET),
        )

    async def inbound(self) -> dict[str, Any] | None:
        """Statistics of its video (W3C webrtc-stats, RTCInboundRtpStreamStats); None without a session."""
        found: dict[str, Any] | None = await self.page.evaluate("() => glass.inbound()")
        return found

    async def ask(self, quality: str) -> float:
        """Picks a quality in the menu; the page's time of that."""
        asked: float = await self.page.evaluate(_ASK, quality)
        return asked

    async def first_of_width(self, width: int, since: float) -> float:
        """The page's time of the first picture of this width after `since`."""
        found = await self.page.wait_for_function(
            _FIRST_OF_WIDTH,
            arg=[width, since],
        )
        now: float = await found.json_value()
        return now


@contextlib.asynccontextmanager
async def glass_page(browser: Browser, url: str) -> AsyncIterator[GlassPage]:
    """A page with nothing cached, until the end of the block; then its session is closed."""
    page = await browser.new_page(viewport={"width": 1200, "height": 800})
    await page.add_init_script(path=SCRIPT)
    viewer = GlassPage(page)
    try:
        await page.goto(url)
        yield viewer
        await page.evaluate("() => glass.leave()")
    finally:
        await page.close()


class SentLog:
    """When the camera sent each picture of its clip of `units` pictures."""

    def __init__(self, log: Path, units: int) -> None:
        self._units = units
        self._records = sorted((at_ns, number) for number, at_ns in pacing.records(log))

    def entry(self, place: int, before_ms: float) -> int | None:
        """The last picture from this place of the clip that was sent before a time (UTC ms)."""
        end = bisect.bisect_right(self._records, (int(before_ms * 1e6), 0))
        for at in range(end - 1, max(-1, end - 1 - self._units), -1):
            if self._records[at][1] % self._units == place:
                return at
        return None

    def sent_ms(self, entry: int) -> float:
        """UTC of an entry; entries count pictures."""
        return self._records[entry][0] / 1e6

    def beginning_ms(self, since_ms: float) -> float:
        """UTC of the first picture that a connection began with after this time; raises StopIteration."""
        return next(at / 1e6 for at, number in self._records if number == 0 and at / 1e6 >= since_ms)


class Numbers:
    """Which picture of the camera has which RTP timestamp, for one stream of one session."""

    def __init__(self, seen: Seen, first: Frame, sent: SentLog, units: int) -> None:
        """`first` is the first picture of the stream; raises ValueError where the numbers do not fit."""
        loop = units * pacing.TICKS
        bases = Counter((number * pacing.TICKS - timestamp) % loop for timestamp, number in seen.numbers)
        (base, votes), *_ = bases.most_common(1)
        # A picture may be read one late; most are not.
        if votes <= NUMBERS_READ // 2:
            raise ValueError(f"numbers read do not fit together: {seen.numbers}")
        last = seen.frames[-1]
        newest = sent.entry((last.timestamp + base) % loop // pacing.TICKS, last.display + seen.offset_ms)
        if newest is None:
            raise ValueError("the camera did not send what was seen")
        # Live pictures stand on the camera's grid, those of the past in the interval before the last of them.
        self._edge = first.timestamp + -(first.timestamp + base) % pacing.TICKS
        self._entry = newest - round((last.timestamp - self._edge) / pacing.TICKS)
        self.cached = (self._edge + base) % loop // pacing.TICKS + 1
        "Pictures that the stream began with."
        self._step = max(1, pacing.TICKS // self.cached)
        self._sent = sent

    def sent_ms(self, timestamp: int) -> float:
        """UTC at which the camera had sent this picture."""
        ticks = timestamp - self._edge
        past = self._step if ticks < 0 else pacing.TICKS
        return self._sent.sent_ms(self._entry + round(ticks / past))


def ages(seen: Seen, frames: Sequence[Frame], numbers: Numbers) -> list[tuple[float, float]]:
    """When each picture was put on screen, in ms after the first, and its age when it was to be visible."""
    return [
        (frame.now - frames[0].now, frame.display + seen.offset_ms - numbers.sent_ms(frame.timestamp))
        for frame in frames
    ]


def settled_ms(aged: Sequence[tuple[float, float]], limit_ms: float, within_ms: float) -> float | None:
    """From the first picture until ages stay below the limit; None when they do not within the time."""
    settled = None
    for at, age in aged:
        if at > within_ms:
            break
        if age >= limit_ms:
            settled = None
        elif settled is None:
            settled = at
    return settled
