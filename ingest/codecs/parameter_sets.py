"""The parameter sets in force, by their ids (ITU-T H.264 clause 7.3.2, ITU-T H.265 clause 7.3.2)."""

from collections.abc import Callable, Mapping

from common import h264, h265

MAX_BYTES = 4096
# Of each kind. All go in front of every keyframe; encoders use one or a few, of tens of octets. H.264 has no
# more sequence parameter sets than 32, so picture parameter sets keep those that they refer to.
MAX_SETS = 32
MAX_BYTES_OF_KIND = 16 << 10
_MAX_EXP_GOLOMB_ZEROS = 8  # enough for 255
# H.265: header, first octet, profile_tier_level of 7 sub-layers (clause 7.3.3), sps_seq_parameter_set_id.
_H265_SPS_START_BYTES = 2 + 1 + 12 + 2 + 6 * 12 + 2


def _first_ue(octets: bytes) -> int:
    """The Exp-Golomb code (clause 9.1) that the octets begin with, -1 when it is cut off or large."""
    head = octets[:4]
    bits = int.from_bytes(head, "big")
    size = 8 * len(head)
    zeros = size - bits.bit_length()
    if zeros > _MAX_EXP_GOLOMB_ZEROS or 2 * zeros + 1 > size:
        return -1
    return (bits >> (size - 2 * zeros - 1)) - 1


def _h264_sps_id(nal: bytes) -> int:
    return _first_ue(nal[4:8])  # behind header, profile, constraints, level


def _h264_pps_id(nal: bytes) -> int:
    return _first_ue(nal[1:5])


def _h265_vps_id(nal: bytes) -> int:
    return nal[2] >> 4 if len(nal) > 2 else -1


def _h265_sps_id(nal: bytes) -> int:
    # All before the id fills whole octets; emulation prevention stands in nearly every profile_tier_level.
    start = nal[: _H265_SPS_START_BYTES * 3 // 2].replace(b"\x00\x00\x03", b"\x00\x00")
    position = 2 + 1 + 12
    if len(start) <= position:
        return -1
    sub_layers = start[2] >> 1 & 7
    if sub_layers:
        flags = int.from_bytes(start[position : position + 2], "big")
        position += 2
        for layer in range(sub_layers):
            present = flags >> (14 - 2 * layer)
            position += 11 * (present >> 1 & 1) + (present & 1)
    return _first_ue(start[position:])


def _h265_pps_id(nal: bytes) -> int:
    return _first_ue(nal[2:6])


Kinds = Mapping[int, tuple[Callable[[bytes], int], int]]
"NAL type: how its id is read (-1 when it is broken), the largest id; in the order decoders need them."

H264: Kinds = {
    h264.NAL_SPS: (_h264_sps_id, 31),  # clause 7.4.2.1.1
    h264.NAL_PPS: (_h264_pps_id, 255),  # clause 7.4.2.2
}
H265: Kinds = {
    h265.NAL_VPS: (_h265_vps_id, 15),  # clause 7.4.3.1
    h265.NAL_SPS: (_h265_sps_id, 15),  # clause 7.4.3.2.1
    h265.NAL_PPS: (_h265_pps_id, 63),  # clause 7.4.3.3.1
}


class ParameterSets:
    """Keeps the newest parameter set of each kind and id, up to MAX_SETS and MAX_BYTES_OF_KIND of a kind.

    The slices of a keyframe refer to what came last, also where an encoder takes another id each time.
    """

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._sets: dict[int, dict[int, bytes]] = {kind: {} for kind in kinds}
        "By kind and id, the newest last."

    def add(self, kind: int, nal: bytes) -> bool:
        """Takes a NAL unit of type `kind`; False when it is no parameter set, broken or above MAX_BYTES."""
        if kind not in self._kinds or len(nal) > MAX_BYTES:
            return False
        read_id, largest = self._kinds[kind]
        number = read_id(nal)
        if not 0 <= number <= largest:
            return False
        sets = self._sets[kind]
        if sets.pop(number, None) != nal:
            size = len(nal) + sum(map(len, sets.values()))
            while len(sets) >= MAX_SETS or size > MAX_BYTES_OF_KIND:
                size -= len(sets.pop(next(iter(sets))))
        sets[number] = nal
        return True

    @property
    def complete(self) -> bool:
        """True when there is at least one of each kind, without which nothing decodes."""
        return all(self._sets.values())

    def of(self, kind: int) -> tuple[bytes, ...]:
        """Those of one NAL type, the newest first."""
        return tuple(reversed(self._sets[kind].values()))

    def nals(self) -> tuple[bytes, ...]:
        """All, in the order in which decoders need them, then of their ids."""
        return tuple(nal for sets in self._sets.values() for _, nal in sorted(sets.items()))
