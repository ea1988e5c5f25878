"""RTP payloads that are one audio frame each: G.711, G.722, L16 (RFC 3551 section 4.5), Opus (RFC 7587).

Nothing is changed: samples of L16 stay in network byte order with interleaved channels (section 4.5.11). The
RTP clock of G.722 counts 8000 a second though it is sampled at 16000 (section 4.5.2): an octet is a tick.
"""

from ingest.codecs.frame import Frame, VideoParameters

# 40 ms of L16 at 96 kHz and 2 channels are 15,360 octets, 120 ms of Opus at 510 kbit/s (the most) are 7,650.
MAX_PACKET_BYTES = 16 << 10


class AudioDepacketizer:
    """A packet, a frame. Raises nothing: what is broken or too large is dropped and counted in `damaged`.

    `sample_bytes`: octets of all channels at one instant, of which a packet holds a whole number; 1 for Opus.
    """

    parameters: VideoParameters | None = None

    def __init__(self, sample_bytes: int = 1) -> None:
        self.damaged = 0
        "Packets dropped because of their size."
        self._sample_bytes = sample_bytes
        self._gap = True
        self._frames: list[Frame] = []

    def push(
        self, timestamp: int, marker: bool, payload: bytes, arrival_ns: int, after_loss: bool = False
    ) -> None:
        """Takes the next RTP packet; `after_loss` when packets before it are missing.

        The marker begins a talkspurt (RFC 3551 section 4.1) and says nothing about frames.
        """
        if after_loss:
            self._gap = True
        if not payload:
            # Silence: Opus with DTX, or a camera that only keeps the path open.
            return
        if len(payload) > MAX_PACKET_BYTES or len(payload) % self._sample_bytes:
            self.damaged += 1
            self._gap = True
            return
        self._frames.append(Frame(timestamp, arrival_ns, True, self._gap, (payload,)))
        self._gap = False

    def frames(self) -> list[Frame]:
        """The frames since the last call."""
        frames, self._frames = self._frames, []
        return frames
