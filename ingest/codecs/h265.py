"""RTP payloads to whole H.265 access units (RFC 7798 sections 4.4.1 to 4.4.3); see nal_depacketizer.py.

Without DONL fields: a camera whose SDP announces sprop-max-don-diff is not played. PACI packets (section
4.4.4) are not read: no sender in the field makes them.

Keyframes are all IRAP pictures (clause 3.68): IDR, BLA and CRA. RASL pictures follow a CRA or BLA picture
and refer to pictures in front of it. Where decoding starts at that picture (at the first keyframe, behind a
gap, an end of sequence or a splice) they cannot be decoded, so they are dropped (clause 8.1.3). Only other
RASL pictures of the same keyframe refer to them: they leave no gap.
"""

from common.h265 import (
    NAL_AP,
    NAL_AUD,
    NAL_BLA_N_LP,
    NAL_BLA_W_LP,
    NAL_CRA,
    NAL_END_OF_BITSTREAM,
    NAL_END_OF_SEQUENCE,
    NAL_FILLER,
    NAL_FU,
    NAL_HEADER_BYTES,
    NAL_PACI,
    NAL_RASL_N,
    NAL_RASL_R,
    NAL_SPS,
    NAL_SUFFIX_SEI,
    NAL_TRAIL_N,
    NAL_VPS,
    parse_sps,
)
from ingest.codecs import parameter_sets as sets
from ingest.codecs.frame import VideoParameters
from ingest.codecs.nal_depacketizer import NalDepacketizer, NalSyntax

_IRAP = range(NAL_BLA_W_LP, NAL_CRA + 1)
# Table 7-1: 10 to 15 and 22 to 31 are reserved; decoders ignore them.
_SLICES = frozenset({*range(NAL_TRAIL_N, NAL_RASL_R + 1), *_IRAP})
_ENDS = (NAL_END_OF_SEQUENCE, NAL_END_OF_BITSTREAM)
_BEHIND_SLICES = (*_ENDS, NAL_SUFFIX_SEI)
_IGNORED = 63  # a NAL type that says nothing here
_SUB_LAYERS_MINUS_1 = 7  # mask of sps_max_sub_layers_minus1, one bit up

_SYNTAX = NalSyntax(
    header_bytes=NAL_HEADER_BYTES,
    type_mask=0x7E,
    type_shift=1,
    nal_types=frozenset({*_SLICES, *range(NAL_VPS, NAL_SUFFIX_SEI + 1)}),
    slices=_SLICES,
    keyframes=_IRAP,
    left_out=(NAL_AUD, NAL_FILLER),
    parameter_sets=sets.H265,
    sps=NAL_SPS,
    aggregate=NAL_AP,
    fragment=NAL_FU,
    not_read=(NAL_PACI,),
)


class H265Depacketizer(NalDepacketizer):
    """H.265: several kinds of keyframes, pictures in layers, pictures that cannot be decoded after a join."""

    def __init__(self, parameter_sets: tuple[bytes, ...] = ()) -> None:
        super().__init__(_SYNTAX, parameter_sets)
        self._highest_layer = _SUB_LAYERS_MINUS_1
        "TemporalId of the highest sub-layer that the SPS allow."
        self._picture = _IGNORED
        "NAL type of the newest slice."
        self._sequence_ended = False
        self._drops_rasl = True

    def _kind(self, nal: bytes) -> int:
        # Layers above the base (nuh_layer_id, clause 7.4.2.2) are extensions which decoders here ignore.
        if nal[0] & 1 or nal[1] & 0xF8:
            return _IGNORED
        return nal[0] >> 1 & 0x3F

    def _begin(self, kind: int, head: bytes) -> None:
        if kind in _SLICES:
            if self._has_picture and head[NAL_HEADER_BYTES:] >= b"\x80":
                # Two pictures under one timestamp; first_slice_segment_in_pic_flag tells them apart.
                if self._broken:
                    self._reference = True  # the hole may have been more of them
                self._complete()
            self._picture = kind
        super()._begin(kind, head)

    def _add(self, kind: int, nal: bytes) -> None:
        if kind in _ENDS:
            self._sequence_ended = True
        if kind in _BEHIND_SLICES and not self._has_picture:
            # Its picture was handed over at the marker; in front of the next one it would be wrong.
            return
        super()._add(kind, nal)

    def _is_reference(self, kind: int, head: bytes) -> bool:
        # No other picture of its own sub-layer refers to a sub-layer non-reference picture (even types up
        # to 14), but higher sub-layers may (clause 7.4.2.2).
        sub_layer_non_reference = kind < NAL_BLA_W_LP and not head[0] & 2
        return not sub_layer_non_reference or (head[1] & 7) - 1 < self._highest_layer

    def _decodable(self) -> bool:
        return not self._drops_rasl or self._picture not in (NAL_RASL_N, NAL_RASL_R)

    def _keyframe(self) -> None:
        super()._keyframe()
        self._highest_layer = max(
            sps[NAL_HEADER_BYTES] >> 1 & _SUB_LAYERS_MINUS_1 for sps in self._sets.of(NAL_SPS)
        )
        spliced = NAL_BLA_W_LP <= self._picture <= NAL_BLA_N_LP
        self._drops_rasl = self._gap or self._sequence_ended or spliced
        self._sequence_ended = False

    def _read_sps(self, nal: bytes) -> VideoParameters:
        found = parse_sps(nal)
        return VideoParameters(
            profile=found.profile,
            profile_level_id=None,
            width=found.width,
            height=found.height,
            max_reorder_frames=found.max_reorder_frames,
            profile_tier_level=found.profile_tier_level,
        )
