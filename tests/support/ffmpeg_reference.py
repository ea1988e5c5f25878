"""What FFmpeg reads from a camera, as slices and audio frames that our own reading has to equal.

reference = Reference(url, "tcp")
await reference.until(video=1)
… read the same camera …
theirs = await reference.stop()
differences(ours, theirs)
"""

import asyncio
import re
import threading
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import av

from common.h264 import split_annex_b

DEADLINE_S = 20.0
CODECS = {
    "h264": "H264",
    "hevc": "H265",
    "mjpeg": "JPEG",
    "aac": "AAC",
    "opus": "OPUS",
    "pcm_alaw": "PCMA",
    "pcm_mulaw": "PCMU",
    "g722": "G722",
    "pcm_s16be": "L16",
}
"FFmpeg's name of a codec, and ours."
_BYTE_STREAMS = ("PCMA", "PCMU", "G722", "L16")
_WINDOW = 256  # octets; long enough to occur seldom


@dataclass(slots=True)
class Recording:
    """The octets of one reading that do not depend on who read."""

    video_codec: str = ""
    audio_codec: str = ""
    video: list[tuple[bytes, ...]] = field(default_factory=list)
    "The slices of each access unit; the entropy-coded data of each JPEG."
    parameter_sets: list[set[bytes]] = field(default_factory=list)
    "Those within each access unit."
    sdp_parameter_sets: set[bytes] = field(default_factory=set)
    audio: list[bytes] = field(default_factory=list)

    def add_video(self, units: Sequence[bytes]) -> None:
        """NAL units of one access unit, or one JPEG file."""
        if self.video_codec == "JPEG":
            self.video.append(tuple(map(_jpeg_scan, units)))
            self.parameter_sets.append(set())
            return
        # Annex B lets go of zeros at the end of a NAL unit.
        nals = [nal.rstrip(b"\0") for nal in units]
        self.video.append(tuple(nal for nal in nals if self._is_slice(nal)))
        self.parameter_sets.append(set(filter(self._is_parameter_set, nals)))

    def add_sdp_parameter_sets(self, nals: Sequence[bytes]) -> None:
        """What sprop parameters say; FFmpeg's reading of VLC's long sprop-sei, which is none, is left out."""
        self.sdp_parameter_sets.update(filter(self._is_parameter_set, nals))

    def _is_slice(self, nal: bytes) -> bool:
        if self.video_codec == "H265":
            return nal[0] >> 1 < 32  # ITU-T H.265 table 7-1
        return 1 <= nal[0] & 0x1F <= 5  # ITU-T H.264 table 7-1

    def _is_parameter_set(self, nal: bytes) -> bool:
        if self.video_codec == "H265":
            return nal[0] >> 1 in (32, 33, 34)
        return nal[0] & 0x1F in (7, 8)


def _jpeg_scan(file: bytes) -> bytes:
    """What follows the last header: RTP has no headers, each receiver writes its own (RFC 2435)."""
    start = file.index(b"\xff\xda")
    header_size = int.from_bytes(file[start + 2 : start + 4], "big")
    scan = file[start + 2 + header_size :]
    # FFmpeg adds an EOI where the camera sent one.
    while scan.endswith(b"\xff\xd9"):
        scan = scan[:-2]
    return scan


class Reference:
    """FFmpeg reading in a thread, from now until `stop`."""

    def __init__(self, url: str, transport: str) -> None:
        self.recording = Recording()
        self._url = url
        self._transport = transport
        self._stopping = threading.Event()
        self._task = asyncio.create_task(asyncio.to_thread(self._read))

    def _read(self) -> None:
        options = {"rtsp_transport": self._transport}
        with av.open(self._url, options=options, timeout=DEADLINE_S) as container:
            recording = self.recording
            for stream in container.streams:
                codec = CODECS[stream.codec_context.name]
                if stream.type == "video":
                    recording.video_codec = codec
                    extradata = stream.codec_context.extradata
                    if codec != "JPEG" and extradata:
                        recording.add_sdp_parameter_sets(split_annex_b(bytes(extradata)))
                else:
                    recording.audio_codec = codec
            for packet in container.demux():
                if self._stopping.is_set():
                    return
                self._take(packet)

    def _take(self, packet: Any) -> None:
        data = bytes(packet)
        if not data:
            return
        if packet.stream.type == "audio":
            self.recording.audio.append(data)
        elif self.recording.video_codec == "JPEG":
            self.recording.add_video([data])
        else:
            self.recording.add_video(split_annex_b(data))

    async def until(self, video: int) -> None:
        """Waits for that many access units; raises what FFmpeg fails with."""
        async with asyncio.timeout(DEADLINE_S):
            while len(self.recording.video) < video:
                if self._task.done():
                    await self._task
                    raise AssertionError("FFmpeg met the end of the stream")
                await asyncio.sleep(0.02)

    async def stop(self) -> Recording:
        """Ends the reading; the first and the last access unit are left out, as they may be half."""
        self._stopping.set()
        await self._task
        recording = self.recording
        recording.video = recording.video[1:-1]
        recording.parameter_sets = recording.parameter_sets[1:-1]
        return recording


@dataclass(frozen=True, slots=True)
class Overlap:
    """How much of two readings was laid over each other."""

    video: int
    "Access units."
    audio: int
    "Audio frames; octets of codecs without frames."


def differences(ours: Recording, theirs: Recording) -> tuple[Overlap, list[str]]:
    """Lays two readings of one camera over each other; the list is empty when they agree."""
    found: list[str] = []
    for kind, our, their in (
        ("video", ours.video_codec, theirs.video_codec),
        ("audio", ours.audio_codec, theirs.audio_codec),
    ):
        if our != their:
            found.append(f"{kind} is {our or 'absent'}, FFmpeg reads {their or 'none'}")
    video = _lay_over("access units", ours.video, theirs.video, found)
    if theirs.audio_codec in _BYTE_STREAMS:
        audio = _lay_over("audio octets", b"".join(ours.audio), b"".join(theirs.audio), found, _WINDOW)
    else:
        audio = _lay_over("audio frames", ours.audio, theirs.audio, found)
    # A set of the SDP is in our frames where the stream has none, and need not be where it has.
    in_stream = set().union(*theirs.parameter_sets[video.theirs : video.theirs + video.length])
    in_ours = set().union(*ours.parameter_sets[video.ours : video.ours + video.length])
    if missing := in_stream - in_ours:
        found.append(f"parameter sets missing: {_hex(missing)}")
    if unknown := in_ours.difference(theirs.sdp_parameter_sets, *theirs.parameter_sets):
        found.append(f"parameter sets that FFmpeg has not: {_hex(unknown)}")
    return Overlap(video.length, audio.length), found


def _hex(nals: Set[bytes]) -> str:
    return " ".join(sorted(nal.hex() for nal in nals))


class _Common(NamedTuple):
    """What two sequences share: where it starts in each, and its length."""

    ours: int
    theirs: int
    length: int


def _lay_over(
    what: str, ours: Sequence[object], theirs: Sequence[object], found: list[str], window: int = 1
) -> _Common:
    """Lays one sequence over the other so that all they share agrees, or else as much as possible.

    One reading began before the other, so the first `window` items of one are somewhere in the other, more
    than once where the sound is a steady tone.
    """
    best = _Common(0, 0, 0)
    places = [(0, start) for start in _places(theirs, ours[:window])]
    places += [(first, 0) for first in _places(ours, theirs[:window])]
    for first, start in places:
        length = min(len(ours) - first, len(theirs) - start)
        agreeing = _agreeing(ours[first : first + length], theirs[start : start + length])
        if agreeing == length:
            return _Common(first, start, length)
        best = max(best, _Common(first, start, agreeing), key=lambda common: common.length)
    if places:
        found.append(f"{what}: after {best.length} in common the next one differs")
    elif ours or theirs:
        found.append(f"{what}: neither reading begins within the other, {len(ours)} against {len(theirs)}")
    return best


def _places(sequence: Sequence[object], part: Sequence[object]) -> list[int]:
    """Where the part begins in the sequence."""
    if not part:
        return []
    if isinstance(sequence, bytes) and isinstance(part, bytes):
        return [match.start() for match in re.finditer(b"(?=" + re.escape(part) + b")", sequence)]
    starts = range(len(sequence) - len(part) + 1)
    return [start for start in starts if sequence[start : start + len(part)] == part]


def _agreeing(ours: Sequence[object], theirs: Sequence[object]) -> int:
    """How many items agree from the start."""
    if ours == theirs:
        return len(ours)
    return next(index for index, (our, their) in enumerate(zip(ours, theirs, strict=True)) if our != their)
