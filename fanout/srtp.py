"""SRTP for senders: key derivation and protection of whole runs (RFC 3711, RFC 7714).

The plain Python reference. Indexes are the 48-bit packet index of RFC 3711 section 3.3.1: rollover counter
and sequence number in one integer, so nothing here wraps but the header field.
"""

import hmac
from dataclasses import dataclass, field
from typing import Literal, Protocol

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

ProfileName = Literal["SRTP_AEAD_AES_128_GCM", "SRTP_AES128_CM_SHA1_80"]

_LABEL_RTP_ENCRYPTION = 0
_LABEL_RTP_AUTHENTICATION = 1
_LABEL_RTP_SALT = 2
_SHA1_80_TAG = 10
_SEQUENCE_STEP = 1 << 64
_SEQUENCE_FIELD = 0xFFFF << 64
_MARKER = 1 << 87
_VERSION_2 = 0x80 << 88


@dataclass(frozen=True, slots=True)
class MasterKey:
    """What DTLS-SRTP agreed on for one direction (RFC 5764 section 4.2)."""

    profile: ProfileName
    key: bytes = field(repr=False)
    salt: bytes = field(repr=False)


def derive(master: MasterKey, label: int, length: int) -> bytes:
    """One session key (RFC 3711 section 4.3 with rate 0; short salts as RFC 7714 section 11)."""
    salt = int.from_bytes(master.salt.ljust(14, b"\0"), "big")
    counter = ((salt ^ (label << 48)) << 16).to_bytes(16, "big")
    return Cipher(AES(master.key), CTR(counter)).encryptor().update(bytes(length))


class Protector(Protocol):
    """One viewer's outgoing SRTP stream."""

    def protect(self, payloads: tuple[bytes, ...], index: int, timestamp: int, marker: bool) -> list[bytes]:
        """Protected packets as header, body, header, body, …

        `index` is the 48-bit index of the first, `timestamp` the 32-bit RTP timestamp of all; `marker` sets
        the marker bit on the last.
        """
        ...


class GcmProtector:
    """AEAD_AES_128_GCM (RFC 7714 sections 8.1, 14.2): the tag follows the ciphertext."""

    __slots__ = ("_encrypt", "_header", "_iv")

    def __init__(self, master: MasterKey, ssrc: int, payload_type: int) -> None:
        self._encrypt = AESGCM(derive(master, _LABEL_RTP_ENCRYPTION, 16)).encrypt
        salt = int.from_bytes(derive(master, _LABEL_RTP_SALT, 12), "big")
        self._iv = salt ^ (ssrc << 48)
        self._header = _VERSION_2 | payload_type << 80 | ssrc

    def protect(self, payloads: tuple[bytes, ...], index: int, timestamp: int, marker: bool) -> list[bytes]:
        # Whole numbers instead of Struct.pack: 0.1 µs less for each packet and viewer.
        encrypt, iv = self._encrypt, self._iv
        header = self._header | (index & 0xFFFF) << 64 | timestamp << 32
        packets: list[bytes] = []
        add = packets.append
        last = len(payloads) - 1
        for position, payload in enumerate(payloads):
            if position == last and marker:
                header |= _MARKER
            octets = header.to_bytes(12, "big")
            add(octets)
            add(encrypt((iv ^ index).to_bytes(12, "big"), payload, octets))
            index += 1
            header = header + _SEQUENCE_STEP if index & 0xFFFF else header & ~_SEQUENCE_FIELD
        return packets


class Sha1Protector:
    """AES_CM_128_HMAC_SHA1_80 (RFC 3711 sections 4.1.1, 4.2)."""

    __slots__ = ("_authentication_key", "_cipher", "_header", "_iv")

    def __init__(self, master: MasterKey, ssrc: int, payload_type: int) -> None:
        self._cipher = AES(derive(master, _LABEL_RTP_ENCRYPTION, 16))
        self._authentication_key = derive(master, _LABEL_RTP_AUTHENTICATION, 20)
        salt = int.from_bytes(derive(master, _LABEL_RTP_SALT, 14), "big")
        self._iv = (salt << 16) ^ (ssrc << 64)
        self._header = _VERSION_2 | payload_type << 80 | ssrc

    def protect(self, payloads: tuple[bytes, ...], index: int, timestamp: int, marker: bool) -> list[bytes]:
        base = self._header | timestamp << 32
        packets: list[bytes] = []
        last = len(payloads) - 1
        for position, payload in enumerate(payloads):
            header = base | (index & 0xFFFF) << 64
            if position == last and marker:
                header |= _MARKER
            octets = header.to_bytes(12, "big")
            iv = self._iv ^ (index << 16)
            body = Cipher(self._cipher, CTR(iv.to_bytes(16, "big"))).encryptor().update(payload)
            rollover = (index >> 16).to_bytes(4, "big")
            tag = hmac.digest(self._authentication_key, octets + body + rollover, "sha1")
            packets += (octets, body + tag[:_SHA1_80_TAG])
            index += 1
        return packets


def protector(master: MasterKey, ssrc: int, payload_type: int) -> Protector:
    """The protector for the negotiated profile."""
    kind = GcmProtector if master.profile == "SRTP_AEAD_AES_128_GCM" else Sha1Protector
    return kind(master, ssrc, payload_type)
