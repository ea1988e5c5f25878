"""What a simulated camera can do wrong on request, as cameras in the field do."""

from collections.abc import Sequence
from dataclasses import dataclass

HOUR_NS = 3600 * 1_000_000_000
DEFAULT_AFTER_S = 5.0


@dataclass(frozen=True, slots=True)
class Faults:
    """Seconds count from the moment that somebody begins to play a rendition; None means never."""

    clock_jump: float | None = None
    "The wall clock of sender reports leaps by an hour."
    sps_change: float | None = None
    "The picture changes its size."
    stop_after: float | None = None
    "Nothing is sent any more; the connection stays and requests are answered."
    no_marker: bool = False
    "No packet of video has the marker bit."
    marker_everywhere: bool = False
    "The last packet of every NAL unit has the marker bit; pictures have four slices."
    sps_only_in_sdp: bool = False
    "Parameter sets are missing in band."
    no_rtcp: bool = False
    "No sender reports."
    b_frames: bool = False
    "Two B-frames in a row: timestamps go back and forth."
    bad_clock: bool = False
    "Sender reports say 1970, as a camera without a clock battery does."

    def marked(self, units: Sequence[Sequence[bytes]]) -> list[tuple[bytes, bool]]:
        """Payloads of one picture with their marker bits; `units` has the payloads of each NAL unit."""
        marked = [
            (payload, self.marker_everywhere and index == len(payloads) - 1)
            for payloads in units
            for index, payload in enumerate(payloads)
        ]
        if marked and not self.no_marker:
            marked[-1] = marked[-1][0], True
        return marked

    def wall_clock_ns(self, utc_ns: int, played_s: float) -> int:
        """UTC as sender reports give it, `played_s` after play began."""
        if self.bad_clock:
            return int(played_s * 1_000_000_000)
        if self.clock_jump is not None and played_s >= self.clock_jump:
            return utc_ns + HOUR_NS
        return utc_ns

    def silent(self, played_s: float) -> bool:
        """The camera sends nothing any more."""
        return self.stop_after is not None and played_s >= self.stop_after


_TIMED = ("clock-jump", "sps-change", "stop-after")
_SWITCHES = ("no-marker", "marker-everywhere", "sps-only-in-sdp", "no-rtcp", "b-frames", "bad-clock")
NAMES = (*(f"{name}[=SECONDS]" for name in _TIMED), *_SWITCHES)


def parse_faults(text: str) -> Faults:
    """Reads `no-marker,stop-after=3`; raises ValueError naming what is not known."""
    times: dict[str, float] = {}
    switches: set[str] = set()
    for item in filter(None, text.split(",")):
        name, equals, value = item.partition("=")
        if name in _TIMED:
            times[name] = float(value) if equals else DEFAULT_AFTER_S
        elif item in _SWITCHES:
            switches.add(item)
        else:
            raise ValueError(f"fault {item!r} is unknown; there are {', '.join(NAMES)}")
    return Faults(
        clock_jump=times.get("clock-jump"),
        sps_change=times.get("sps-change"),
        stop_after=times.get("stop-after"),
        no_marker="no-marker" in switches,
        marker_everywhere="marker-everywhere" in switches,
        sps_only_in_sdp="sps-only-in-sdp" in switches,
        no_rtcp="no-rtcp" in switches,
        b_frames="b-frames" in switches,
        bad_clock="bad-clock" in switches,
    )
