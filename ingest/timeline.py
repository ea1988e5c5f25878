"""RTP timestamps to one timeline per run of ingest, and to wall clock by sender reports (RFC 3550 6.4.1)."""

from dataclasses import dataclass

from common.rtp import SenderReport
from common.units import VIDEO_CLOCK_RATE, Unwrapper, ntp_to_unix_ns, timestamp_delta

SECOND_NS = 1_000_000_000
# A timestamp step that differs by more from the time that passed is a new beginning, not a pause.
MAX_STEP_ERROR_S = 10
# A camera whose clock is farther off than this says nothing usable about the time of capture.
MAX_CLOCK_ERROR_NS = 10 * SECOND_NS


@dataclass(frozen=True, slots=True)
class _Anchor:
    """The last sender report."""

    rtp: int
    utc_ns: int


class Timeline:
    """Places pictures on one timeline that goes on over reconnections, new sources and timestamp jumps.

    The wall clock of a picture is the camera's own where a sender report of this source gives one within 10 s
    of the arrival; a clock that is farther off is wrong and the time of arrival stands in for it.
    """

    def __init__(self) -> None:
        self._offset = 0
        self._unwrapper = Unwrapper()
        self._last: tuple[int, int] | None = None
        self._anchor: _Anchor | None = None
        self._rebase = False

    def restart(self) -> None:
        """A new source follows: its timestamps and its sender reports have nothing to do with the old."""
        self._rebase = True
        self._anchor = None

    def sender_report(self, report: SenderReport) -> None:
        """Takes the camera's word for which RTP timestamp is which wall clock; 0 means it has no clock."""
        self._anchor = _Anchor(report.rtp_timestamp, ntp_to_unix_ns(report.ntp)) if report.ntp else None

    def place(self, rtp_timestamp: int, arrival_ns: int) -> tuple[int, int]:
        """The timestamp unwrapped to 64 bits, in 90 kHz ticks, and the capture time in UTC nanoseconds."""
        timestamp = self._unwrapper.unwrap(rtp_timestamp) + self._offset
        if self._last is not None:
            last_timestamp, last_arrival_ns = self._last
            # At least one tick, so that time never stands still or goes back at a new beginning.
            passed = max(1, (arrival_ns - last_arrival_ns) * VIDEO_CLOCK_RATE // SECOND_NS)
            step_error = timestamp - last_timestamp - passed
            if self._rebase or abs(step_error) > MAX_STEP_ERROR_S * VIDEO_CLOCK_RATE:
                self._unwrapper = Unwrapper(rtp_timestamp)
                self._offset = last_timestamp + passed - rtp_timestamp
                timestamp = last_timestamp + passed
        self._rebase = False
        self._last = (timestamp, arrival_ns)
        return timestamp, self._capture_ns(rtp_timestamp, arrival_ns)

    def _capture_ns(self, rtp_timestamp: int, arrival_ns: int) -> int:
        if self._anchor is None:
            return arrival_ns
        ticks = timestamp_delta(rtp_timestamp, self._anchor.rtp)
        capture_ns = self._anchor.utc_ns + ticks * SECOND_NS // VIDEO_CLOCK_RATE
        return capture_ns if abs(capture_ns - arrival_ns) <= MAX_CLOCK_ERROR_NS else arrival_ns
