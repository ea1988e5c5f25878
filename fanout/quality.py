"""Which rendition one viewer is given: what it asks for, or as much as its link carries.

Down at once when the link is full; then up by steps, each only after a probe has shown that the link carries
it. A probe is old packets sent again beside the media, at first little more than the media itself, so that a
link that is still bad is hardly hurt by it.
"""

from dataclasses import dataclass
from typing import Literal

from common.messages import Quality
from fanout.link import Link

Target = Literal["main", "sub", "keyframes"]

REFUSAL_S = 1.0
"For so long after a refused frame the way counts as full."
JOIN_S = 2.0
"For so long after the beginning refusals do not count: the cached GOP of a join may fill the way."
ROOM = 1.1
PATIENCE_S = 4.0
"A link with ROOM times the bit rate shown gets rid of a queue by itself in this time: a join, a keyframe."
SETTLE_S = 3.5
MAX_SETTLE_S = 8.0
"After a step down: until what was sent before it has left the queue and the memory of losses."
SOON_S = 15.0
MAX_SETBACK_S = 60.0
"A step up that lasts less than SOON_S doubles the wait for the next; one that lasts this long clears it."

PROBE_WAIT_S = 4.0
PROBE_WAIT_GROWTH = 1.25
MAX_PROBE_WAIT_S = 9.0  # with the probe itself, a link that is good again is found within 12 s
RISE_WAIT_S = 2.0
"From one step up to the probe for the next."
PROBE_DEADLINE_S = 4.0
PROBE_STEP = 2.5
"Rate of a step, media included, over that of the last: on a link that is full it adds 130 ms of queue."
PROBE_GOAL = 1.25
"Rate of the last step over the bit rate in question."
CARRIED = 1.1
CARRIED_SHARE = 0.95
STEP_SHARE = 0.8  # of a dozen packets, times and losses are rough
MENDED_LOSS = 0.1  # by retransmission
STEP_MENDED_LOSS = 0.25
STEP_S = 0.2
GOAL_S = 0.3
MIN_PROBE_OCTETS = 6 * 1150
LOW_QUEUE_S = 0.15
TRIAL_WAIT_S = 10.0
"Before a step up without a probe, where no transport-wide feedback comes."
LEAST_PRESENT = 100_000
"Bits per second that any link is taken to carry."
DEFAULT_MAIN = 4_000_000
DEFAULT_SUB = 500_000
"Until the bit rates are known."


@dataclass(frozen=True, slots=True)
class Probe:
    """What to send beside the media to learn what the link carries (see Link)."""

    bitrate: int
    "Bits per second of old packets, paced a few at a time."
    octets: int
    "How many in all."


@dataclass(frozen=True, slots=True)
class Decision:
    """What a viewer is to be given."""

    target: Target
    reason: str
    "For people; of the last change."
    probe: Probe | None = None
    "Given once, to be begun now; where that cannot be done, nothing needs to be."


class QualityPolicy:
    """One viewer's. `wish` is what it asks for; `has_sub`: there is a smaller stream that it can decode."""

    def __init__(self, has_sub: bool, now_s: float) -> None:
        self.wish: Quality = "auto"
        self._has_sub = has_sub
        self._target: Target = "main"
        self._reason = "the link carries it"
        self._obeyed = False
        self._was_narrow = False
        "A step down was necessary, or would have been, and no step up to the main stream has lasted since."
        self._bitrates: dict[Target, int] = {"main": DEFAULT_MAIN, "sub": DEFAULT_SUB, "keyframes": 0}
        self._refused = 0
        self._refusals_count_s = now_s + JOIN_S
        self._refused_until_s = now_s
        self._trouble_since_s: float | None = None
        self._settled_s = now_s
        self._raised_s: float | None = None
        self._setbacks: dict[Target, float] = {"main": 0.0, "sub": 0.0}
        "What to wait in seconds before the next try of a target that did not last."
        self._next_s = now_s
        "When the next step up may be tried."
        self._probe_wait_s = PROBE_WAIT_S
        self._asked_s: float | None = None
        "When the probe was asked for whose outcome is awaited."
        self._level = 0
        "Total rate of the last probe that was carried, or is tried."
        self._at_goal = False

    def decide(
        self, link: Link, main_bitrate: int | None, sub_bitrate: int | None, refused_frames: int, now_s: float
    ) -> Decision:
        """To be called at least twice a second.

        Bit rates are of the renditions, None while unknown. `refused_frames` counts, from the beginning of
        the session, frames that the way out did not take, not those left out for other reasons.
        """
        link.check(now_s)
        if main_bitrate:
            self._bitrates["main"] = main_bitrate
        if sub_bitrate:
            self._bitrates["sub"] = sub_bitrate
        if refused_frames > self._refused and now_s >= self._refusals_count_s:
            self._refused_until_s = now_s + REFUSAL_S
        self._refused = refused_frames
        if self.wish != "auto":
            # Of a link that does not carry less it is known that it does not carry more.
            if self.wish != "main" and (link.congested or now_s < self._refused_until_s):
                self._was_narrow = True
            self._obey(self.wish)
            return Decision(self._target, self._reason)
        if self._obeyed:
            self._obeyed = False
            self._settled_s = self._next_s = now_s
            self._setbacks = {"main": 0.0, "sub": 0.0}
            if not self._was_narrow and not link.congested:
                # As for a new viewer: nothing speaks against it.
                self._target, self._reason = "main", "the link carries it"
        if link.congested or now_s < self._refused_until_s:
            if self._asked_s is not None:
                self._fail(now_s)
            if now_s >= self._settled_s:
                if self._trouble_since_s is None:
                    self._trouble_since_s = now_s
                if now_s - self._trouble_since_s >= self._patience(link, now_s):
                    self._step_down(link, now_s)
            return Decision(self._target, self._reason)
        self._trouble_since_s = None
        if self._raised_s is not None and now_s - self._raised_s > MAX_SETBACK_S:
            self._setbacks[self._target] = 0.0
            if self._target == "main":
                self._was_narrow = False
        probe = None
        if self._target != "main" and now_s >= self._next_s:
            if link.measures:
                probe = self._probe(link, now_s)
            else:
                self._step_up(TRIAL_WAIT_S, now_s)
        return Decision(self._target, self._reason, probe)

    def _obey(self, wish: Target) -> None:
        self._obeyed = True
        self._asked_s = self._trouble_since_s = self._raised_s = None
        self._target, self._reason = wish, "asked for"
        if wish == "sub" and not self._has_sub:
            self._target, self._reason = "main", "there is no smaller stream"

    def _patience(self, link: Link, now_s: float) -> float:
        """A queue on a link that carries more than is shown goes away by itself."""
        if now_s < self._refused_until_s or link.stalled or not link.measures:
            return 0.0
        carried = link.available_bitrate or 0
        return PATIENCE_S if carried >= ROOM * self._bitrates[self._target] > 0 else 0.0

    def _step_down(self, link: Link, now_s: float) -> None:
        if self._target == "keyframes":
            return
        failed: Target = self._target
        self._was_narrow = True
        self._target = "sub" if failed == "main" and self._has_sub else "keyframes"
        if now_s < self._refused_until_s:
            self._reason = "the way to the viewer is full"
        elif link.stalled:
            self._reason = "nothing arrives at the viewer"
        elif link.measures and link.available_bitrate:
            self._reason = f"the link carries {_rate(link.available_bitrate)}"
        else:
            self._reason = f"{link.loss:.0%} of the packets are lost"
        wait_s = PROBE_WAIT_S if link.measures else TRIAL_WAIT_S
        if self._raised_s is not None and now_s - self._raised_s < SOON_S:
            self._setbacks[failed] = min(2 * max(self._setbacks[failed], wait_s), MAX_SETBACK_S)
        self._raised_s = self._trouble_since_s = None
        queue_s = link.queue_s or 0.0
        self._settled_s = now_s + min(SETTLE_S + queue_s, MAX_SETTLE_S)
        self._next_s = now_s + max(wait_s, self._setbacks[failed])
        self._probe_wait_s = PROBE_WAIT_S
        self._level = 0

    def _step_up(self, wait_s: float, now_s: float) -> None:
        self._target = self._above()
        self._reason = "the link recovered"
        self._raised_s = now_s
        self._next_s = now_s + max(wait_s, self._setbacks[self._above()])
        self._probe_wait_s = PROBE_WAIT_S
        self._level = 0

    def _above(self) -> Target:
        return "sub" if self._target == "keyframes" and self._has_sub else "main"

    def _probe(self, link: Link, now_s: float) -> Probe | None:
        """Takes the outcome of the probe under way; asks for the next when it is time."""
        goal = self._bitrates[self._above()]
        if self._asked_s is not None:
            probed = link.probed
            if probed is None or probed.began_s < self._asked_s:
                if now_s - self._asked_s > PROBE_DEADLINE_S:
                    self._fail(now_s)
                return None
            self._asked_s = None
            if self._at_goal:
                enough = max(min(CARRIED * goal, CARRIED_SHARE * probed.sent_bitrate), goal)
                mended = MENDED_LOSS
            else:
                enough = STEP_SHARE * min(self._level, probed.sent_bitrate)
                mended = STEP_MENDED_LOSS
            carried = probed.bitrate / (1 - min(probed.loss, mended))
            if not 0 < enough <= carried or probed.queue_s > LOW_QUEUE_S:
                self._fail(now_s)
                return None
            if self._at_goal:
                self._step_up(RISE_WAIT_S, now_s)
                return None
        if link.queue_s is not None and link.queue_s > LOW_QUEUE_S:
            return None
        present = self._bitrates["sub"] if self._target == "sub" else 0
        wanted = max(int(PROBE_GOAL * goal), 2 * present)
        self._level = min(int(PROBE_STEP * max(self._level, present, LEAST_PRESENT)), wanted)
        self._at_goal = self._level == wanted
        self._asked_s = now_s
        bitrate = self._level - present
        octets = int(bitrate / 8 * (GOAL_S if self._at_goal else STEP_S))
        return Probe(bitrate, max(octets, MIN_PROBE_OCTETS))

    def _fail(self, now_s: float) -> None:
        self._asked_s = None
        self._level = 0
        self._next_s = now_s + self._probe_wait_s
        self._probe_wait_s = min(self._probe_wait_s * PROBE_WAIT_GROWTH, MAX_PROBE_WAIT_S)


def _rate(bitrate: int) -> str:
    return f"{bitrate / 1e6:.1f} Mbit/s" if bitrate >= 950_000 else f"{round(bitrate, -4) // 1000} kbit/s"
