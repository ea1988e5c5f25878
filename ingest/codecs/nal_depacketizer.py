"""NAL units in RTP to whole access units: what H.264 (RFC 6184) and H.265 (RFC 7798) have in common.

An access unit is all of one RTP timestamp. It is complete at the marker bit or when the timestamp changes,
whichever is first. Not all cameras keep to that:

- Marker on every NAL unit or slice (obs-rtspserver #199). So the first picture waits for the change of the
  timestamp; when a marker turns out not to have been its end, markers are ignored for this camera.
- No marker at all: the timestamp changes.
- Parameter sets, SEI and AUD with a marker or a timestamp of their own: held back for the picture.
- Timestamp that stands still: no viewer could play that, so it is an error.
- Parameter sets only in SDP, or only once: put in front of every keyframe.

Loss: a picture with a part missing is dropped whole. When others refer to it, or that cannot be known, what
follows would decode to garbage or not at all, so everything up to the next keyframe is dropped as well and
the next picture says that there is a gap. A picture that nothing refers to is missed by no decoder: it
leaves no gap.
"""

from abc import ABC, abstractmethod
from collections.abc import Container
from dataclasses import dataclass

from common.errors import PeerError
from ingest.codecs.frame import DepacketizerError, Frame, VideoParameters
from ingest.codecs.parameter_sets import Kinds, ParameterSets

MAX_ACCESS_UNIT_BYTES = 8 << 20
MAX_NALS = 1024
# Of one timestamp. Two are the fields of a frame; cameras that count in whole seconds put 25 or 30 under one.
MAX_PICTURES = 64
_FRAGMENT_COST_BYTES = 64  # what Python keeps for each besides its octets; many small ones add up

# Of FU headers (RFC 6184 section 5.8, RFC 7798 section 4.4.3): start, end, and R or a bit of the type.
_FU_START = 0x80
_FU_END = 0x40
_FORBIDDEN = 0x80


@dataclass(frozen=True, slots=True)
class NalSyntax:
    """The numbers in which the two codecs differ."""

    header_bytes: int
    type_mask: int
    "Of nal_unit_type in the first octet."
    type_shift: int
    nal_types: Container[int]
    "All others are packets, or nothing."
    slices: Container[int]
    keyframes: Container[int]
    "Slices of pictures at which decoding can start."
    left_out: Container[int]
    "NAL units that decoders need not see."
    parameter_sets: Kinds
    sps: int
    aggregate: int
    fragment: int
    not_read: Container[int]
    "Packets that hold parts of pictures in ways that nobody asked for."


class NalDepacketizer(ABC):
    """`push` packets in order, then take whole `frames`.

    `parameter_sets` are those of SDP. Raises DepacketizerError when an access unit passes 8 MiB or 1,024 NAL
    units, or a timestamp 64 pictures; everything else that is broken is dropped and counted in `damaged`.
    """

    def __init__(self, syntax: NalSyntax, parameter_sets: tuple[bytes, ...]) -> None:
        self.damaged = 0
        "Access units dropped because a part was missing or broken, the one that play began in not counted."
        self.marker_is_end = True
        "False for a camera that sets the marker inside access units too."
        self.parameters: VideoParameters | None = None
        self._syntax = syntax
        self._sps: bytes | None = None
        self._sets = ParameterSets(syntax.parameter_sets)
        for nal in parameter_sets:
            if len(nal) > syntax.header_bytes:
                self._sets.add(self._kind(nal), nal)
        self._on_probation = True
        self._begins = True
        self._waiting_for_keyframe = True
        self._gap = True
        self._timestamp: int | None = None
        self._arrival_ns = 0
        self._marked: int | None = None
        self._pictures = 0
        "That began under this timestamp."
        self._nals: list[bytes] = []
        self._size = 0
        self._fragments: list[bytes] = []
        self._middle = b""
        self._prefix = 0
        self._room = 0
        self._frames: list[Frame] = []
        self._has_picture = False
        self._has_keyframe = False
        self._reference: bool | None = None
        self._broken = False

    def push(
        self, timestamp: int, marker: bool, payload: bytes, arrival_ns: int, after_loss: bool = False
    ) -> None:
        """Takes the next RTP packet; `after_loss` when packets before it are missing."""
        if (
            self._fragments
            and timestamp == self._timestamp
            and payload[: self._prefix] == self._middle
            and not after_loss
            and not marker
        ):
            # The path of nearly all packets, kept short: the middle of a fragmented NAL unit.
            self._fragments.append(payload[self._prefix :])
            self._room -= len(payload) + _FRAGMENT_COST_BYTES
            if self._room < 0:
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
            self._pictures = 0
        self._arrival_ns = arrival_ns
        if payload:
            self._payload(payload)
        if marker and (self._has_picture or self._broken) and not self._fragments:
            self._marked = timestamp
            if self.marker_is_end and not self._on_probation:
                self._complete()

    def frames(self) -> list[Frame]:
        """The access units that were completed since the last call."""
        frames, self._frames = self._frames, []
        return frames

    @abstractmethod
    def _is_reference(self, kind: int, head: bytes) -> bool:
        """False when no picture refers to that of this slice; arguments as for `_begin`."""

    @abstractmethod
    def _read_sps(self, nal: bytes) -> VideoParameters:
        """Raises PeerError."""

    def _decodable(self) -> bool:
        """False for a whole picture that refers to others which decoding never saw."""
        return True

    def _kind(self, nal: bytes) -> int:
        return (nal[0] & self._syntax.type_mask) >> self._syntax.type_shift

    def _payload(self, payload: bytes) -> None:
        syntax = self._syntax
        if payload[0] & _FORBIDDEN or len(payload) < syntax.header_bytes:
            self._break()
            return
        kind = self._kind(payload)
        if kind == syntax.fragment:
            self._fragment(payload)
            return
        if self._fragments:
            self._break()
        if kind == syntax.aggregate:
            self._aggregate(payload)
        elif kind in syntax.not_read:
            self._break()
        elif kind in syntax.nal_types:
            self._begin(kind, payload[: syntax.header_bytes + 1])
            self._add(kind, payload)

    def _aggregate(self, payload: bytes) -> None:
        """STAP-A (RFC 6184 section 5.7.1), AP (RFC 7798 section 4.4.2)."""
        position = header_bytes = self._syntax.header_bytes
        while position < len(payload):
            start = position + 2
            position = start + int.from_bytes(payload[position:start], "big")
            if start > len(payload) or position > len(payload):
                self._break()
                return
            nal = payload[start:position]
            if not nal:
                continue
            if nal[0] & _FORBIDDEN or len(nal) < header_bytes:
                self._break()
            elif (kind := self._kind(nal)) in self._syntax.nal_types:
                self._begin(kind, nal[: header_bytes + 1])
                self._add(kind, nal)

    def _fragment(self, payload: bytes) -> None:
        """FU-A (RFC 6184 section 5.8), FU (RFC 7798 section 4.4.3)."""
        syntax = self._syntax
        at = syntax.header_bytes
        header = payload[at] if len(payload) > at else 0
        kind = header & syntax.type_mask >> syntax.type_shift
        if len(payload) <= at or kind not in syntax.nal_types:
            self._break()
            return
        if header & _FU_START:
            if self._fragments:
                self._break()
            first = payload[0] & ~syntax.type_mask | kind << syntax.type_shift
            start = bytes((first,)) + payload[1:at]
            self._begin(kind, start + payload[at + 1 : at + 2])
            self._fragments = [start]
            self._middle = payload[:at] + bytes((header & ~(_FU_START | _FU_END),))
            self._prefix = at + 1
            self._room = MAX_ACCESS_UNIT_BYTES - self._size
        elif not self._fragments or self._kind(self._fragments[0]) != kind:
            self._break()
            return
        self._fragments.append(payload[at + 1 :])
        self._room -= len(payload) + _FRAGMENT_COST_BYTES
        if self._room < 0:
            self._too_large()
        if header & _FU_END:
            nal = b"".join(self._fragments)
            self._fragments = []
            self._add(kind, nal)

    def _begin(self, kind: int, head: bytes) -> None:
        """Looks at how a NAL unit begins: `head` is its header and the octet that follows, if any."""
        if kind not in self._syntax.slices:
            return
        # A leading 1 bit says that it is the first of its picture: first_mb_in_slice is 0 as Exp-Golomb code
        # (H.264 clause 7.3.3), first_slice_segment_in_pic_flag is 1 (H.265 clause 7.3.6.1).
        if head[-1] < 0x80 and len(head) > self._syntax.header_bytes:
            if self._marked == self._timestamp:
                self.marker_is_end = False
            if not self._has_picture:
                # The slices before were given away at a marker, or lost.
                self._broken = True
        else:
            self._pictures += 1
            if self._pictures > MAX_PICTURES:
                raise DepacketizerError(
                    f"camera's timestamps stand still: {self._pictures} pictures came at {self._timestamp}; "
                    "restart it, or update its firmware"
                )
        self._has_picture = True
        self._has_keyframe = self._has_keyframe or kind in self._syntax.keyframes
        self._reference = self._reference or self._is_reference(kind, head)

    def _add(self, kind: int, nal: bytes) -> None:
        if kind in self._syntax.left_out:
            return
        if kind in self._syntax.parameter_sets and not self._sets.add(kind, nal):
            return
        self._nals.append(nal)
        self._size += len(nal)
        if self._size > MAX_ACCESS_UNIT_BYTES or len(self._nals) > MAX_NALS:
            self._too_large()

    def _too_large(self) -> None:
        raise DepacketizerError(
            f"camera sends an access unit of {self._size + sum(map(len, self._fragments))} octets in "
            f"{len(self._nals)} NAL units and {len(self._fragments)} fragments at RTP timestamp "
            f"{self._timestamp}; at most {MAX_ACCESS_UNIT_BYTES} octets in {MAX_NALS} are taken"
        )

    def _break(self) -> None:
        """Marks the picture under way as incomplete."""
        self._broken = True
        self._fragments = []

    def _lost(self, timestamp_changed: bool) -> None:
        if not timestamp_changed and self._has_picture:
            # Both sides of the hole are of one picture, so whether others refer to it is known from one
            # slice (H.264 clause 7.4.1, H.265 clause 7.4.2.2).
            self._break()
            return
        # Whole pictures may be missing, or the beginning of the one that comes.
        if self._has_picture and timestamp_changed:
            self._break()
        self._gap = self._waiting_for_keyframe = True

    def _complete(self) -> None:
        if self._fragments:
            self._break()
        keyframe = self._has_keyframe and self._sets.complete
        if self._broken:
            # Joining in the middle of a picture is no damage.
            self.damaged += not self._begins
            if self._reference is not False:
                self._gap = self._waiting_for_keyframe = True
        elif keyframe:
            self._keyframe()
            sets = self._syntax.parameter_sets
            others = (nal for nal in self._nals if self._kind(nal) not in sets)
            self._hand_over(True, (*self._sets.nals(), *others))
        elif not self._waiting_for_keyframe and self._decodable():
            self._hand_over(False, tuple(self._nals))
        self._begins = False
        self._nals = []
        self._size = 0
        self._has_picture = self._has_keyframe = self._broken = False
        self._reference = None

    def _hand_over(self, keyframe: bool, nals: tuple[bytes, ...]) -> None:
        assert self._timestamp is not None
        self._frames.append(Frame(self._timestamp, self._arrival_ns, keyframe, self._gap, nals))
        self._gap = self._waiting_for_keyframe = False

    def _keyframe(self) -> None:
        """A whole keyframe is about to be handed over."""
        sps = self._sets.of(self._syntax.sps)[0]
        if sps == self._sps:
            return
        self._sps = sps
        try:
            self.parameters = self._read_sps(sps)
        except PeerError:
            # The stream is passed on all the same; browsers read more than this program does.
            self.parameters = None
