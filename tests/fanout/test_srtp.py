"""Session keys held to the RFCs' examples; `test_egress.py` holds their use to libsrtp."""

import pytest

from fanout.srtp import LENGTHS, MasterKey, ProfileName, SessionKeys, session_keys


def test_example_of_rfc_3711() -> None:
    """Appendix B.3."""
    master = MasterKey(
        "SRTP_AES128_CM_SHA1_80",
        bytes.fromhex("E1F97A0D3E018BE0D64FA32C06DE4139"),
        bytes.fromhex("0EC675AD498AFEEBB6960B3AABE6"),
    )
    assert session_keys(master) == SessionKeys(
        "SRTP_AES128_CM_SHA1_80",
        bytes.fromhex("C61E7A93744F39EE10734AFE3FF7A087"),
        bytes.fromhex("30CBBC08863D8C85D49DB34A9AE1"),
        bytes.fromhex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"),
    )


@pytest.mark.parametrize("profile", LENGTHS)
def test_keys_have_the_lengths_of_the_profile(profile: ProfileName) -> None:
    lengths = LENGTHS[profile]
    keys = session_keys(MasterKey(profile, b"k" * lengths.key, b"s" * lengths.salt))
    assert (len(keys.cipher_key), len(keys.salt), len(keys.authentication_key)) == lengths
    with pytest.raises(ValueError, match=profile):
        session_keys(MasterKey(profile, b"k" * (lengths.key - 1), b"s" * lengths.salt))
    with pytest.raises(ValueError, match=profile):
        SessionKeys(profile, keys.cipher_key, keys.salt + b"s", keys.authentication_key)


def test_other_profiles_are_refused() -> None:
    with pytest.raises(ValueError, match="SRTP_NULL"):
        session_keys(MasterKey("SRTP_NULL", bytes(16), bytes(14)))  # type: ignore[arg-type]


def test_keys_are_not_shown() -> None:
    master = MasterKey("SRTP_AEAD_AES_128_GCM", b"k" * 16, b"s" * 12)
    assert repr(master) == "MasterKey(profile='SRTP_AEAD_AES_128_GCM')"
    assert repr(session_keys(master)) == "SessionKeys(profile='SRTP_AEAD_AES_128_GCM')"
