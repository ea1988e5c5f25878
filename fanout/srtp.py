"""SRTP keys of a sender: what DTLS agreed on becomes what protects packets (RFC 3711, RFC 7714).

AEAD_AES_256_GCM derives with its 256-bit master key (RFC 6188 section 2, RFC 7714 section 11).
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

ProfileName = Literal["SRTP_AEAD_AES_128_GCM", "SRTP_AEAD_AES_256_GCM", "SRTP_AES128_CM_SHA1_80"]

_LABEL_RTP_ENCRYPTION = 0
_LABEL_RTP_AUTHENTICATION = 1
_LABEL_RTP_SALT = 2


class Lengths(NamedTuple):
    """Octets of the keys of a profile; master and session keys have the same."""

    key: int
    salt: int
    authentication_key: int


LENGTHS: dict[ProfileName, Lengths] = {
    "SRTP_AEAD_AES_128_GCM": Lengths(16, 12, 0),  # RFC 7714 section 14.2
    "SRTP_AEAD_AES_256_GCM": Lengths(32, 12, 0),
    "SRTP_AES128_CM_SHA1_80": Lengths(16, 14, 20),  # RFC 3711 section 8.2
}


@dataclass(frozen=True, slots=True)
class MasterKey:
    """What DTLS-SRTP agreed on for one direction (RFC 5764 section 4.2)."""

    profile: ProfileName
    key: bytes = field(repr=False)
    salt: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """What protects the RTP packets of one direction; all its SSRCs share them (RFC 3711 section 4.3.1).

    Raises ValueError for an unknown profile or a length that is not the profile's.
    """

    profile: ProfileName
    cipher_key: bytes = field(repr=False)
    salt: bytes = field(repr=False)
    authentication_key: bytes = field(repr=False)
    "Empty for AES-GCM."

    def __post_init__(self) -> None:
        lengths = (len(self.cipher_key), len(self.salt), len(self.authentication_key))
        if LENGTHS.get(self.profile) != lengths:
            raise ValueError(f"{self.profile} does not have keys of {lengths} octets")


def session_keys(master: MasterKey) -> SessionKeys:
    """The session keys of a master key; raises ValueError when its lengths are not the profile's."""
    lengths = LENGTHS.get(master.profile)
    if lengths is None or (len(master.key), len(master.salt)) != lengths[:2]:
        raise ValueError(f"{master.profile} does not have these lengths of master key and salt")
    return SessionKeys(
        master.profile,
        _derive(master, _LABEL_RTP_ENCRYPTION, lengths.key),
        _derive(master, _LABEL_RTP_SALT, lengths.salt),
        _derive(master, _LABEL_RTP_AUTHENTICATION, lengths.authentication_key),
    )


def _derive(master: MasterKey, label: int, length: int) -> bytes:
    """One session key (RFC 3711 section 4.3 with rate 0; short salts as RFC 7714 section 11)."""
    salt = int.from_bytes(master.salt.ljust(14, b"\0"), "big")
    counter = ((salt ^ (label << 48)) << 16).to_bytes(16, "big")
    return Cipher(AES(master.key), CTR(counter)).encryptor().update(bytes(length))
