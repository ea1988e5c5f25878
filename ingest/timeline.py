"""RTP timestamps on one timeline, and the time of capture by sender reports (RFC 3550 section 6.4.1)."""

from typing import NamedTuple

from common.rtp import SenderReport
from common.units import Unwrapper, ntp_to_unix_ns, timestamp_delta

SECOND_NS = 1_000_000_000
# A timestamp step that differs by more from the time that passed is a new beginning, not a pause.
MAX_STEP_ERROR_S = 10
# B-frames go back by 16 pictures at most (H.264 clause A.3.1): about 1 s at 15 pictures per second.
MAX_BACKWARD_S = 2
# Ahead of all that came before by more: the timestamps jumped, for no network delivers early.
MAX_AHEAD_NS = SECOND_NS
# A sender report that differs by more from what the one before let expect: the camera's clock was set.
MAX_REPORT_ERROR_NS = SECOND_NS // 2
# Pictures come this much after their capture at most where the camera's clock is right: encoders take up to
# 0.5 s, a jammed network holds the rest; a clock that SNTP sets now and then errs by less than 0.5 s.
MAX_LATE_NS = 2 * SECOND_NS
MAX_EARLY_NS = SECOND_NS // 2
# A single unit may be held up longer by a jammed TCP connection; beyond this its time of arrival says more.
MAX_HELD_NS = 10 * SECOND_NS
# The smallest transit is that of 10 to 20 s: long enough for a quiet moment, short enough to follow drift.
WINDOW_NS = 10 * SECOND_NS


class _Earliest:
    """The smallest transit of the last 10 to 20 s, in nanoseconds; None at first."""

    __slots__ = ("_before", "_began_ns", "_now", "value")

    def __init__(self) -> None:
        self.value: int | None = None
        self._before: int | None = None
        self._now = 0
        self._began_ns = 0

    def add(self, transit_ns: int, arrival_ns: int) -> int:
        """Takes one transit, answers the smallest."""
        if self.value is None:
            self._now, self._began_ns = transit_ns, arrival_ns
        elif abs(arrival_ns - self._began_ns) >= WINDOW_NS:
            self._before = self._now
            self._now, self._began_ns = transit_ns, arrival_ns
        elif transit_ns < self._now:
            self._now = transit_ns
        self.value = self._now if self._before is None else min(self._before, self._now)
        return self.value


class CameraClock:
    """The wall clock of a camera against ours; its tracks share it, so that what is heard fits what is seen.

    A clock that is right is taken as it is. One that is wrong is moved so that the unit that was quickest
    arrives when it was captured. Its jumps are taken out by the tracks (`shift_ns`) and counted here.
    """

    def __init__(self) -> None:
        self.jumps = 0
        "Since the beginning, over all connections."
        self.shift_ns = 0
        "Sum of its jumps on this connection: what is left of it runs steadily."
        self._right = True
        self._earliest = _Earliest()

    def restart(self) -> None:
        """A new connection: perhaps another clock."""
        self.shift_ns = 0
        self._right = True
        self._earliest = _Earliest()

    @property
    def offset_s(self) -> float | None:
        """The camera's clock less ours, as the quickest unit shows it; None without sender reports."""
        earliest = self._earliest.value
        return None if earliest is None else (self.shift_ns - earliest) / SECOND_NS

    def first_shift_ns(self, camera_ns: int, arrival_ns: int) -> int:
        """How much of a track's first report is jump, by what the other track says of the same clock."""
        earliest = self._earliest.value
        if earliest is None:
            return self.shift_ns
        shift_ns = camera_ns - (arrival_ns - earliest)
        return shift_ns if abs(shift_ns - self.shift_ns) > MAX_LATE_NS else self.shift_ns

    def jumped(self, shift_ns: int) -> int:
        """A track saw the clock jump, by `shift_ns` in all; the sum to go on with.

        The other track tells of the same jump a little later: both go on with exactly the same sum.
        """
        if abs(shift_ns - self.shift_ns) > MAX_REPORT_ERROR_NS:
            self.jumps += 1
            self.shift_ns = shift_ns
        return self.shift_ns

    def capture_ns(self, steady_ns: int, arrival_ns: int) -> int:
        """UTC of what has `steady_ns`, the camera's clock without its jumps."""
        earliest = self._earliest.add(arrival_ns - steady_ns, arrival_ns)
        # Narrower for the way back, so that a clock at the edge does not change sides all the time.
        part = 1 if self._right else 2
        self._right = -MAX_EARLY_NS <= part * (earliest - self.shift_ns) <= MAX_LATE_NS
        return steady_ns + (self.shift_ns if self._right else earliest)


class Placed(NamedTuple):
    """Where a frame is in time."""

    timestamp: int
    "RTP timestamp unwrapped to 64 bits."
    capture_ns: int
    "UTC nanoseconds."
    camera_clock: bool
    "`capture_ns` is by the camera's clock, not by the time of arrival."


class Timeline:
    """Places frames of one track on one timeline that goes on over reconnections, new sources and jumps.

    The time of capture follows the timestamps: between two frames it goes on by half to twice as much as
    they do while it finds to where sender reports want it, so it neither turns back nor leaps. Without
    reports it is the time of arrival.
    """

    def __init__(self, clock_rate: int, clock: CameraClock) -> None:
        self.beginnings = 0
        "New sources and jumps so far: there the distance to the time of arrival changed."
        self._clock_rate = clock_rate
        self._clock = clock
        self._offset = 0
        self._unwrapper = Unwrapper()
        self._last: tuple[int, int] | None = None
        self._rebase = False
        self._earliest = _Earliest()
        self._report: tuple[SenderReport, int] | None = None
        self._camera_offset_ns: int | None = None
        "The camera's wall clock less the timeline, by the last sender report."
        self._shift_ns = 0
        self._newest_ns = 0
        self._mapping_ns: int | None = None
        "The time of capture less the timeline."

    def restart(self, clock_rate: int | None = None) -> None:
        """A new source follows: its timestamps and its sender reports have nothing to do with the old."""
        if clock_rate is not None and clock_rate != self._clock_rate:
            if self._last is not None:
                timestamp, arrival_ns = self._last
                self._last = (timestamp * clock_rate // self._clock_rate, arrival_ns)
            self._clock_rate = clock_rate
        self._rebase = self._last is not None
        self._report = None
        self._camera_offset_ns = None

    def sender_report(self, report: SenderReport, arrival_ns: int) -> None:
        """Takes the camera's word for which RTP timestamp is which wall clock; 0 means it has no clock."""
        if report.ntp:
            # It is read with the next frame, whose timestamp shows whether it is about this stream.
            self._report = (report, arrival_ns)
        else:
            self._report = self._camera_offset_ns = None

    def place(self, rtp_timestamp: int, arrival_ns: int) -> Placed:
        """Where a frame with this RTP timestamp is, whose last packet came at `arrival_ns`, UTC."""
        timestamp = self._unwrapper.unwrap(rtp_timestamp) + self._offset
        if self._last is not None and self._begins_anew(timestamp, arrival_ns):
            timestamp = self._begin_anew(rtp_timestamp, arrival_ns)
        self._last = (timestamp, arrival_ns)
        media_ns = timestamp * SECOND_NS // self._clock_rate
        self._earliest.add(arrival_ns - media_ns, arrival_ns)
        if self._report is not None:
            self._read_report(timestamp, rtp_timestamp, arrival_ns)
        wanted_ns = arrival_ns
        camera_clock = False
        if self._camera_offset_ns is not None:
            steady_ns = media_ns + self._camera_offset_ns - self._shift_ns
            capture_ns = self._clock.capture_ns(steady_ns, arrival_ns)
            if -MAX_EARLY_NS <= arrival_ns - capture_ns <= MAX_HELD_NS:
                wanted_ns, camera_clock = capture_ns, True
        return Placed(timestamp, self._approach(wanted_ns, media_ns, camera_clock), camera_clock)

    def _begins_anew(self, timestamp: int, arrival_ns: int) -> bool:
        assert self._last is not None
        if self._rebase:
            return True
        last_timestamp, last_arrival_ns = self._last
        rate = self._clock_rate
        step = timestamp - last_timestamp
        error = step - (arrival_ns - last_arrival_ns) * rate // SECOND_NS
        if step < -MAX_BACKWARD_S * rate or abs(error) > MAX_STEP_ERROR_S * rate:
            return True
        earliest = self._earliest.value
        ahead_ns = 0 if earliest is None else earliest - (arrival_ns - timestamp * SECOND_NS // rate)
        return ahead_ns > MAX_AHEAD_NS and error * SECOND_NS > MAX_AHEAD_NS * rate

    def _begin_anew(self, rtp_timestamp: int, arrival_ns: int) -> int:
        """Goes on by the time that passed; the reports so far are about other timestamps."""
        assert self._last is not None
        last_timestamp, last_arrival_ns = self._last
        # At least one tick, so that time never stands still or goes back.
        passed = max(1, (arrival_ns - last_arrival_ns) * self._clock_rate // SECOND_NS)
        timestamp = last_timestamp + passed
        self._unwrapper = Unwrapper(rtp_timestamp)
        self._offset = timestamp - rtp_timestamp
        self._earliest = _Earliest()
        self._camera_offset_ns = None
        self._rebase = False
        self.beginnings += 1
        return timestamp

    def _read_report(self, timestamp: int, rtp_timestamp: int, arrival_ns: int) -> None:
        assert self._report is not None
        report, report_arrival_ns = self._report
        self._report = None
        rate = self._clock_rate
        ticks = timestamp_delta(report.rtp_timestamp, rtp_timestamp)
        expected = (report_arrival_ns - arrival_ns) * rate // SECOND_NS
        if abs(ticks - expected) > MAX_STEP_ERROR_S * rate:
            return  # Of the stream before a jump, or cameras whose reports count from somewhere else.
        camera_ns = ntp_to_unix_ns(report.ntp)
        offset_ns = camera_ns - (timestamp + ticks) * SECOND_NS // rate
        before_ns = self._camera_offset_ns
        if before_ns is None:
            self._shift_ns = self._clock.first_shift_ns(camera_ns, report_arrival_ns)
        elif abs(offset_ns - before_ns) > MAX_REPORT_ERROR_NS:
            self._shift_ns = self._clock.jumped(self._shift_ns + offset_ns - before_ns)
        self._camera_offset_ns = offset_ns

    def _approach(self, wanted_ns: int, media_ns: int, camera_clock: bool) -> int:
        """The time of capture: as near to what is wanted as it may go in one step."""
        step_ns = max(0, media_ns - self._newest_ns)
        self._newest_ns += step_ns
        mapping_ns = wanted_ns - media_ns
        before_ns = self._mapping_ns
        # Farther than any camera can move it: our own clock was set.
        if before_ns is not None and abs(mapping_ns - before_ns) <= MAX_HELD_NS + MAX_EARLY_NS:
            if camera_clock:
                slack_ns = step_ns // 2
                mapping_ns = min(max(mapping_ns, before_ns - slack_ns), before_ns + slack_ns)
            else:
                mapping_ns = max(mapping_ns, before_ns - step_ns)
        self._mapping_ns = mapping_ns
        return media_ns + mapping_ns
