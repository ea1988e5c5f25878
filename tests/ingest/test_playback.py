"""How long one attempt is waited for, with a real track: whatever stops the picture, its cause is said."""

import re

import pytest

from common.errors import CameraError
from ingest.output import Output
from ingest.playback import Playback, Timing
from ingest.reorder import ReorderBuffer
from ingest.rtp_track import RtpTrack
from tests.support.fake_clock import FakeClock

from .codecs.test_h264 import IDR, SLICE
from .test_rtp_track import VIDEO, packet

INTERVAL_S = 0.04


class SetClock(FakeClock):
    """A clock whose UTC can be set."""

    _ahead_ns = 0

    def set_forward(self, seconds):
        self._ahead_ns += seconds * 1_000_000_000

    def utc_ns(self):
        return super().utc_ns() + self._ahead_ns


class Watched:
    """A playback that a test feeds with packets, and whose clock goes on with them."""

    def __init__(self, reorder=None):
        self.clock = SetClock()
        self.units = []
        self.playback = Playback(Output(1), self.clock, Timing(), self.units.append)
        self.track = RtpTrack(VIDEO, 0, self.playback, 1, "c", reorder)
        self.playback.playing((self.track,), "RTSP over TCP")

    async def play(self, data):
        self.track.rtp([data], self.clock.monotonic_s(), self.clock.utc_ns())
        await self.clock.advance(INTERVAL_S)
        if self.track.deadline is not None and self.track.deadline <= self.clock.monotonic_s():
            self.track.poll(self.clock.monotonic_s(), self.clock.utc_ns())
        self.playback.watch(self.clock.monotonic_s())

    async def until_given_up(self, data, first):
        """Plays `data(number)` from `first` on; the seconds since the last picture, and the error."""
        since = self.clock.monotonic_s()
        for number in range(first, first + 10_000):
            before = len(self.units)
            try:
                await self.play(data(number))
            except CameraError as exc:
                return self.clock.monotonic_s() - since, str(exc)
            if len(self.units) > before:
                since = self.clock.monotonic_s()
        raise AssertionError("it never gave up")


@pytest.mark.parametrize("reorder", [False, True])
@pytest.mark.parametrize("pictures", [0, 100])
@pytest.mark.parametrize(
    ("data", "limit_s", "error"),
    [
        (lambda number: packet(number + 1, SLICE), 30, "no keyframe that can be decoded for 30 s"),
        (lambda number: packet(5, SLICE, number * 3600), 10, "no video.*whose sequence number came before"),
        (lambda number: b"\0" * 40, 10, "no video for 10 s, only .* that cannot be read as RTP"),
        (
            lambda number: packet(number, b"x", payload_type=110),
            10,
            r"no video.*type 110 \(its SDP says 96\)",
        ),
        (lambda number: packet(number, b""), 10, "no video for 10 s, only .* without a payload"),
    ],
)
async def test_packets_go_on_without_pictures(data, limit_s, error, pictures, reorder):
    watched = Watched(ReorderBuffer(96) if reorder else None)
    for number in range(pictures):
        await watched.play(packet(number, SLICE if number else IDR))
    assert len(watched.units) == pictures
    seconds, said = await watched.until_given_up(data, pictures)
    assert seconds == pytest.approx(limit_s, abs=0.2)
    assert re.search(error, said)


async def test_a_camera_with_few_pictures_is_waited_for():
    """One picture in 8 s, and keep-alives of another payload type between them; then one 20 s later."""
    watched = Watched()
    for number in range(1101):
        shown = number in (0, 200, 400, 600, 1100)
        await watched.play(packet(number, IDR if shown else b"x", payload_type=96 if shown else 110))
    # The first one waits for the timestamp of the second, to see what its marker means.
    assert len(watched.units) == 5


async def test_a_frozen_camera_is_told_as_soon_after_our_clock_was_set():
    """NTP sets it six hours forward while the camera plays."""
    watched = Watched()
    for number in range(200):
        if number == 196:
            watched.clock.set_forward(6 * 3600)
        await watched.play(packet(number, SLICE if number % 50 else IDR))
    seconds, said = await watched.until_given_up(lambda number: packet(5, SLICE, number * 3600), 200)
    assert seconds == pytest.approx(10, abs=0.2)
    assert "sent no video for 10 s" in said


class Remarks:
    quirks = ()
    notes = ()


def test_remarks_are_read_when_they_are_asked_for():
    playback = Playback(Output(1), FakeClock(), Timing(), lambda unit: None)
    assert (playback.quirks, playback.notes) == ((), ())
    playback.playing((), "RTSP over TCP")
    assert (playback.quirks, playback.notes) == ((), ())
    remarks = Remarks()
    playback.playing((), "RTSP over TCP", remarks)
    remarks.quirks, remarks.notes = ("cseq-wrong",), ("audio is left out: it is of no known codec",)
    assert playback.quirks == ("cseq-wrong",)
    assert playback.notes == ("audio is left out: it is of no known codec",)
