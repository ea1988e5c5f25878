"""What share of one viewer's packets is lost lately, and whether that is more than can be mended. [P]"""

from collections import deque
from dataclasses import dataclass, field

HEAVY_LOSS = 0.15  # less is mended by retransmission
HEAVY_AFTER_S = 1.0
# With 5 % of loss by chance, 23 of 150 packets are lost once in a million times; 5 of 33 once in fifty.
HEAVY_PACKETS = 20
LOSS_WINDOW_S = 1.0
MAX_LOSS_WINDOW_S = 5.0
LOSS_WINDOW_PACKETS = 150
MAX_SAMPLES = 128  # 20 a second are usual


@dataclass(slots=True)
class Losses:
    """Share of packets lost lately."""

    share: float = 0.0
    heavy: bool = False
    "More is lost than retransmission can mend, and has been for HEAVY_AFTER_S."
    _window: deque[tuple[float, int, int]] = field(default_factory=deque)
    _lost: int = 0
    _span: int = 0
    _heavy_since_s: float | None = None

    def count(self, lost: int, span: int, now_s: float) -> None:
        window = self._window
        window.append((now_s, lost, span))
        self._lost += lost
        self._span += span
        while len(window) > MAX_SAMPLES or (
            (age_s := now_s - window[0][0]) > LOSS_WINDOW_S
            and (age_s > MAX_LOSS_WINDOW_S or self._span - window[0][2] >= LOSS_WINDOW_PACKETS)
        ):
            _, lost, span = window.popleft()
            self._lost -= lost
            self._span -= span
        self.share = min(max(self._lost / self._span, 0.0), 1.0) if self._span > 0 else 0.0
        if self.share <= HEAVY_LOSS or self._lost < HEAVY_PACKETS or self._is_over(now_s):
            self._heavy_since_s = None
        elif self._heavy_since_s is None:
            self._heavy_since_s = now_s
        self.heavy = self._heavy_since_s is not None and now_s - self._heavy_since_s >= HEAVY_AFTER_S

    def _is_over(self, now_s: float) -> bool:
        """The last second tells of much less loss than the whole window."""
        recent = [(lost, span) for told_s, lost, span in self._window if now_s - told_s < LOSS_WINDOW_S]
        return sum(lost for lost, _ in recent) <= HEAVY_LOSS / 2 * sum(span for _, span in recent)
