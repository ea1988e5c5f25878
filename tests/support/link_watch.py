"""Chromium's own statistics of what a page receives (W3C webrtc-stats), and candidates kept from it."""

import math
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Browser

from tests.support.browser import ViewerPage

_REMEMBER = """(() => {
    window.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(...given) {
            super(...given);
            window.watchedPeer = this;
        }
    };
})();"""

_STATISTICS = """async () => {
    const report = await window.watchedPeer.getStats();
    const found = { video: {}, audio: {}, pair: {}, remote: {} };
    for (const entry of report.values()) {
        if (entry.type === 'inbound-rtp') found[entry.kind] = entry;
        if (entry.type === 'transport' && entry.selectedCandidatePairId) {
            found.pair = report.get(entry.selectedCandidatePairId);
            found.remote = report.get(found.pair.remoteCandidateId);
        }
    }
    return found;
}"""


HIDDEN_PORT = """RTCIceCandidate.prototype.toJSON = function () {
    const candidate = this.candidate.replace(/ \\d+ typ /, ' 9 typ ');
    return { candidate, sdpMid: this.sdpMid, usernameFragment: this.usernameFragment };
};"""
"""A script for a page: the candidates it tells have its address, which STUN has told it, but not its port.

As behind a NAT that uses another port for each peer.
"""


def only_candidates(words: str) -> str:
    """A script for a page: of the server's candidates it sees those with these words, e.g. ` tcp `."""
    return """(() => {
    const original = RTCPeerConnection.prototype.setRemoteDescription;
    RTCPeerConnection.prototype.setRemoteDescription = function (description) {
        const wanted = (line) => !line.startsWith('a=candidate:') || line.includes('WORDS');
        const sdp = description.sdp.split('\\r\\n').filter(wanted).join('\\r\\n');
        return original.call(this, { type: description.type, sdp });
    };
})();""".replace("WORDS", words)


@dataclass(frozen=True, slots=True)
class Span:
    """What happened to the picture between two looks; durations in s."""

    duration_s: float
    frames: int
    freezes: int
    frozen_s: float
    packets: int
    lost: int
    "On the way, whether they were sent again or not."
    nacks: int
    repaired: int
    "Packets that came by RTX, a probe's included."
    keyframe_requests: int
    interval_s: float
    "From one frame to the next, on average."
    unevenness_s: float
    "Standard deviation of that."

    @property
    def frozen_share(self) -> float:
        return self.frozen_s / self.duration_s

    def __str__(self) -> str:
        return (
            f"{self.duration_s:.1f} s with {self.frames} frames every {self.interval_s * 1000:.0f} "
            f"± {self.unevenness_s * 1000:.0f} ms, {self.freezes} freezes of {self.frozen_s:.2f} s "
            f"({self.frozen_share:.1%}), {self.packets} packets, {self.lost} lost, {self.nacks} NACKs, "
            f"{self.repaired} by RTX, {self.keyframe_requests} keyframe requests"
        )


@dataclass(frozen=True, slots=True)
class Look:
    """One getStats."""

    video: dict[str, Any]
    audio: dict[str, Any]
    pair: dict[str, Any]
    "The selected candidate pair."
    remote: dict[str, Any]
    "Its remote candidate."

    @property
    def skew_ms(self) -> float | None:
        """How far the picture that is played is behind the sound that is played; None while not known."""
        played = [kind.get("estimatedPlayoutTimestamp") for kind in (self.audio, self.video)]
        return played[0] - played[1] if all(played) else None

    def since(self, before: "Look") -> Span:
        """The video from `before` to now; both looks are of one session."""

        def grown(name: str) -> float:
            return float((self.video.get(name) or 0) - (before.video.get(name) or 0))

        frames = grown("framesDecoded")
        mean_s = grown("totalInterFrameDelay") / frames if frames else 0.0
        variance = grown("totalSquaredInterFrameDelay") / frames - mean_s**2 if frames else 0.0
        return Span(
            grown("timestamp") / 1000,
            int(frames),
            int(grown("freezeCount")),
            grown("totalFreezesDuration"),
            int(grown("packetsReceived")),
            int(grown("packetsLost")),
            int(grown("nackCount")),
            int(grown("retransmittedPacketsReceived")),
            int(grown("pliCount")),
            mean_s,
            math.sqrt(max(variance, 0.0)),
        )


class WatchedPage(ViewerPage):
    """A viewer page whose statistics can be read."""

    async def look(self) -> Look:
        """The statistics of the newest session."""
        return Look(**await self.page.evaluate(_STATISTICS))


async def open_watched(browser: Browser, url: str, *scripts: str) -> WatchedPage:
    """The viewer page in a tab of its own; the scripts run before those of the page."""
    page = await browser.new_page(viewport={"width": 1200, "height": 800})
    for script in (*scripts, _REMEMBER):
        await page.add_init_script(script)
    viewer = WatchedPage(page)
    await page.goto(url)
    return viewer
