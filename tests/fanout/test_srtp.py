"""Our SRTP held to libsrtp: what we protect, it unprotects; what it protects, we protect the same."""

import os

import pylibsrtp
import pytest

from common.rtp import RtpPacket, parse_rtp, serialize_rtp
from fanout.srtp import MasterKey, ProfileName, protector

SSRC = 0xDEADBEEF
PAYLOAD_TYPE = 102
PROFILES: dict[ProfileName, tuple[int, int]] = {
    "SRTP_AEAD_AES_128_GCM": (pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 12),
    "SRTP_AES128_CM_SHA1_80": (pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 14),
}


def pair(profile: ProfileName, ssrc_type: int) -> tuple[MasterKey, pylibsrtp.Session]:
    number, salt_length = PROFILES[profile]
    key, salt = os.urandom(16), os.urandom(salt_length)
    policy = pylibsrtp.Policy(key=key + salt, ssrc_type=ssrc_type, srtp_profile=number)
    return MasterKey(profile, key, salt), pylibsrtp.Session(policy)


def packets(pieces: list[bytes]) -> list[bytes]:
    return [pieces[at] + pieces[at + 1] for at in range(0, len(pieces), 2)]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("first", [0, 40_000, 65_500])
def test_libsrtp_reads_a_stream_across_sequence_wraps(profile: ProfileName, first: int) -> None:
    master, receiver = pair(profile, pylibsrtp.Policy.SSRC_ANY_INBOUND)
    ours = protector(master, SSRC, PAYLOAD_TYPE)
    index = first
    for round_ in range(3000):
        payloads = tuple(os.urandom(1 + (round_ * 7 + n) % 60) for n in range(50))
        for n, packet in enumerate(packets(ours.protect(payloads, index, round_, True))):
            plain = parse_rtp(receiver.unprotect(packet))
            assert plain == RtpPacket(PAYLOAD_TYPE, n == 49, (index + n) & 0xFFFF, round_, SSRC, payloads[n])
        index += 50
    assert index >> 16 >= 2


@pytest.mark.parametrize("profile", PROFILES)
def test_byte_for_byte_what_libsrtp_sends(profile: ProfileName) -> None:
    master, sender = pair(profile, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
    ours = protector(master, SSRC, PAYLOAD_TYPE)
    for index in [*range(10), *range(100, 66_000, 37), *range(66_000, 140_000, 41)]:
        payload = os.urandom(index % 1200 + 1)
        plain = RtpPacket(PAYLOAD_TYPE, False, index & 0xFFFF, 0xFFFFFFFF, SSRC, payload)
        expected = sender.protect(serialize_rtp(plain))
        assert packets(ours.protect((payload,), index, 0xFFFFFFFF, False)) == [expected]


def test_keys_are_not_shown() -> None:
    assert repr(MasterKey("SRTP_AEAD_AES_128_GCM", b"k" * 16, b"s" * 12)) == (
        "MasterKey(profile='SRTP_AEAD_AES_128_GCM')"
    )
