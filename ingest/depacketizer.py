"""RTP payloads to whole H.264 access units (RFC 6184 sections 5.6, 5.7.1, 5.8).

An access unit is all of one RTP timestamp. It is complete at the marker bit or when the timestamp changes,
whichever is first. Not all cameras keep to that:

- Marker on every NAL unit or slice (obs-rtspserver #199). So the first picture waits for the change of the
  timestamp; when a marker turns out not to have been its end, markers are ignored for this camera.
- No marker at all: the timestamp changes.
- Parameter sets, SEI and AUD with a marker or a timestamp of their own: held back for the picture.
- Parameter sets only in SDP, or only once: put in front of every IDR.

Loss: a picture with a part missing is dropped whole. When others refer to it (nal_ref_idc is not 0, or
cannot be known), what follows would decode to garbage or not at all, so everything up to the next keyframe
is dropped as well and the next picture says that there is a gap. A picture that nothing refers to is
missed by no decoder: it leaves no gap.
"""

from dataclasses import dataclass

from common.errors import CameraError
from common.h264 import NAL_AUD, NAL_FILLER, NAL_FU_A, NAL_IDR, NAL_PPS, NAL_SLICE, NAL_SPS, NAL_STAP_A
from ingest.parameter_sets import ParameterSets

MAX_ACCESS_UNIT_BYTES = 8 << 20
MAX_NALS = 1024

# RFC 6184 table 1; STAP-B, MTAP and FU-B belong to the interleaved mode, which nobody asked for.
_INTERLEAVED = frozenset({25, 26, 27, 29})
_VCL = range(NAL_SLICE, NAL_IDR + 1)


class DepacketizerError(CameraError):
    """An access unit passes its limits."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A whole access unit with the time of RTP."""

    timestamp: int
    "RTP timestamp, 32 bits, in ticks."
    arrival_ns: int
    "UTC nanoseconds of the last packet's arrival."
    keyframe: bool
    "An IDR with parameter sets in front."
    gap: bool
    "Pictures that a decoder needs are missing before this one."
    nals: tuple[bytes, ...]


class Depacketizer:
    """`push` packets in order, then take whole `pictures`.

    `parameter_sets` are those of SDP. Raises DepacketizerError when an access unit passes 8 MiB or 1,024 NAL
    units; everything else that is broken is dropped and counted in `damaged`.
    """

    def __init__(self, parameter_sets: tuple[bytes, ...] = ()) -> None:
        self.damaged = 0
        "Access units dropped because a part was missing or broken."
        self.marker_is_end = True
        "False for a camera that sets the marker inside access units too."
        self._sets = ParameterSets(parameter_sets)
        self._on_probation = True
        self._waiting_for_keyframe = True
        self._gap = True
        self._timestamp: int | None = None
        self._arrival_ns = 0
        self._marked: int | None = None
        self._nals: list[bytes] = []
        self._size = 0
        self._fragments: list[bytes] = []
        self._indicator = 0
        self._middle = b""
        self._pictures: list[Picture] = []
        self._has_picture = False
        self._has_idr = False
        self._reference: bool | None = None
        self._broken = False

    def push(
        self, timestamp: int, marker: bool, payload: bytes, arrival_ns: int, after_loss: bool = False
    ) -> None:
        """Takes the next RTP packet; `after_loss` when packets before it are missing."""
        if (
            self._fragments
            and timestamp == self._timestamp
            and payload[1:2] == self._middle
            and not after_loss
            and not marker
            and payload[0] == self._indicator
        ):
            # The path of nearly all packets, kept short: the middle of an FU-A.
            self._fragments.append(payload[2:])
            self._size += len(payload) - 2
            if self._size > MAX_ACCESS_UNIT_BYTES:
                self._too_large()
            return
        changed = timestamp != self._timestamp
        if after_loss:
            self._lost(changed)
        if changed:
            if self._has_picture or self._broken:
                self._on_probation = False
                self._complete()
            self._timestamp = timestamp
        self._arrival_ns = arrival_ns
        if payload:
            self._payload(payload)
        if marker and (self._has_picture or self._broken) and not self._fragments:
            self._marked = timestamp
            if self.marker_is_end and not self._on_probation:
                self._complete()

    def pictures(self) -> list[Picture]:
        """The access units that were completed since the last call."""
        pictures, self._pictures = self._pictures, []
        return pictures

    def _payload(self, payload: bytes) -> None:
        kind = payload[0] & 0x1F
        if kind == NAL_FU_A:
            self._fragment(payload)
            return
        if self._fragments:
            self._break()
        if kind == NAL_STAP_A:
            self._aggregate(payload)
        elif kind in _INTERLEAVED or payload[0] & 0x80:
            self._break()
        elif 0 < kind < NAL_STAP_A:
            self._begin(payload[0], payload[1:2])
            self._add(payload)

    def _aggregate(self, payload: bytes) -> None:
        """STAP-A (section 5.7.1)."""
        position = 1
        while position < len(payload):
            start = position + 2
            position = start + int.from_bytes(payload[position:start], "big")
            if start > len(payload) or position > len(payload):
                self._break()
                return
            nal = payload[start:position]
            if nal and nal[0] & 0x80:
                self._break()
            elif nal and 0 < nal[0] & 0x1F < NAL_STAP_A:
                self._begin(nal[0], nal[1:2])
                self._add(nal)

    def _fragment(self, payload: bytes) -> None:
        """FU-A (section 5.8)."""
        header = payload[1] if len(payload) > 1 else 0
        if payload[0] & 0x80 or not 0 < header & 0x1F < NAL_STAP_A:
            self._break()
            return
        if header & 0x80:
            if self._fragments:
                self._break()
            nal_header = payload[0] & 0xE0 | header & 0x1F
            self._begin(nal_header, payload[2:3])
            self._fragments = [bytes((nal_header,)), payload[2:]]
            self._indicator = payload[0]
            self._middle = bytes((header & 0x1F,))
            self._size += len(payload) - 1
        elif not self._fragments:
            self._break()
            return
        else:
            if self._fragments[0][0] & 0x1F != header & 0x1F:
                self._break()
                return
            self._fragments.append(payload[2:])
            self._size += len(payload) - 2
        if self._size > MAX_ACCESS_UNIT_BYTES:
            self._too_large()
        if header & 0x40:
            nal = b"".join(self._fragments)
            self._size -= len(nal)
            self._fragments = []
            self._add(nal)

    def _begin(self, nal_header: int, first_octet: bytes) -> None:
        """Looks at how a NAL unit begins."""
        if nal_header & 0x1F not in _VCL:
            return
        # first_mb_in_slice is the first Exp-Golomb code of a slice: a leading 1 bit is 0 (clause 7.3.3).
        if first_octet and first_octet[0] < 0x80:
            if self._marked == self._timestamp:
                self.marker_is_end = False
            if not self._has_picture:
                # The slices before were given away at a marker, or lost.
                self._broken = True
        self._has_picture = True
        self._reference = self._reference or nal_header & 0x60 != 0

    def _add(self, nal: bytes) -> None:
        kind = nal[0] & 0x1F
        if kind in (NAL_AUD, NAL_FILLER):
            return
        if kind in (NAL_SPS, NAL_PPS) and not self._sets.add(nal):
            return
        self._has_idr = self._has_idr or kind == NAL_IDR
        self._nals.append(nal)
        self._size += len(nal)
        if self._size > MAX_ACCESS_UNIT_BYTES or len(self._nals) > MAX_NALS:
            self._too_large()

    def _too_large(self) -> None:
        raise DepacketizerError(
            f"camera sends an access unit of {self._size} octets in {len(self._nals)} NAL units at RTP "
            f"timestamp {self._timestamp}; at most {MAX_ACCESS_UNIT_BYTES} octets in {MAX_NALS} are taken"
        )

    def _break(self) -> None:
        """Marks the picture under way as incomplete."""
        self._broken = True
        self._fragments = []

    def _lost(self, timestamp_changed: bool) -> None:
        if not timestamp_changed and self._has_picture:
            # Both sides of the hole are of one picture, so its nal_ref_idc is known (clause 7.4.1).
            self._break()
            return
        # Whole pictures may be missing, or the beginning of the one that comes.
        if self._has_picture and timestamp_changed:
            self._break()
        self._gap = self._waiting_for_keyframe = True

    def _complete(self) -> None:
        if self._fragments:
            self._break()
        keyframe = self._has_idr and self._sets.complete
        if self._broken:
            self.damaged += 1
            if self._reference is not False:
                self._gap = self._waiting_for_keyframe = True
        elif keyframe or not self._waiting_for_keyframe:
            nals = self._nals
            if keyframe:
                others = [nal for nal in nals if nal[0] & 0x1F not in (NAL_SPS, NAL_PPS)]
                nals = [*self._sets.nals(), *others]
            assert self._timestamp is not None
            self._pictures.append(
                Picture(self._timestamp, self._arrival_ns, keyframe, self._gap, tuple(nals))
            )
            self._gap = self._waiting_for_keyframe = False
        self._nals = []
        self._size = 0
        self._fragments = []
        self._has_picture = self._has_idr = self._broken = False
        self._reference = None
