"""STUN as an ICE-lite agent needs it: binding requests in, responses out (RFC 8489, RFC 8445 section 7)."""

import hmac
import ipaddress
import zlib
from dataclasses import dataclass
from struct import Struct

from common.errors import ViewerError

MAGIC_COOKIE = 0x2112A442
MAX_MESSAGE_BYTES = 1500

BINDING_REQUEST = 0x0001
BINDING_SUCCESS = 0x0101
BINDING_ERROR = 0x0111

USERNAME = 0x0006
MESSAGE_INTEGRITY = 0x0008
ERROR_CODE = 0x0009
UNKNOWN_ATTRIBUTES = 0x000A
XOR_MAPPED_ADDRESS = 0x0020
PRIORITY = 0x0024
USE_CANDIDATE = 0x0025
FINGERPRINT = 0x8028
ICE_CONTROLLED = 0x8029
ICE_CONTROLLING = 0x802A

# What a request may hold that has to be understood (comprehension-required, section 14): nothing else.
_UNDERSTOOD = frozenset({USERNAME, MESSAGE_INTEGRITY, PRIORITY, USE_CANDIDATE})
_FIXED_SIZES = {MESSAGE_INTEGRITY: 20, PRIORITY: 4, USE_CANDIDATE: 0, FINGERPRINT: 4, ICE_CONTROLLED: 8}

_HEADER = Struct("!HHI12s")
_ATTRIBUTE = Struct("!HH")
_FINGERPRINT_XOR = 0x5354554E
_MAX_USERNAME_BYTES = 513  # section 14.3 allows fewer than 509 octets; ICE's is far shorter
_MAX_ATTRIBUTES = 32  # browsers send 8 to 12; a flood of messages full of empty ones stays cheap
_REQUEST_START = BINDING_REQUEST.to_bytes(2, "big")
_COOKIE = MAGIC_COOKIE.to_bytes(4, "big")


class StunError(ViewerError):
    """A datagram that is not a usable STUN binding request."""


@dataclass(frozen=True, slots=True)
class BindingRequest:
    """A parsed ICE connectivity check; its integrity is checked by `verify`."""

    transaction_id: bytes
    local_ufrag: str
    "The receiver's fragment: the part of USERNAME before the colon."
    remote_ufrag: str
    priority: int
    use_candidate: bool
    peer_controlled: bool
    "True when the sender thinks that it is the controlled agent too."
    unknown: tuple[int, ...]
    "Comprehension-required attributes that nobody here understands."
    integrity: bytes
    covered: bytes
    "The octets that MESSAGE-INTEGRITY covers, with the length field it was computed with."


def local_ufrag(data: bytes) -> str | None:
    """Whom a check is for, at a tenth of what parsing costs; None: it is no check that could be answered.

    Most of a flood ends here: what is for nobody needs no parsing.
    """
    if data[:2] != _REQUEST_START or data[4:8] != _COOKIE:
        return None
    at = 20
    for _ in range(_MAX_ATTRIBUTES):
        if at + 4 > len(data):
            return None
        attribute, size = _ATTRIBUTE.unpack_from(data, at)
        if attribute == USERNAME:
            end = data.find(b":", at + 4, at + 4 + size)
            return data[at + 4 : end].decode("utf-8", "replace") if end >= 0 else None
        at += 4 + size + (-size % 4)
    return None


def parse_binding_request(data: bytes) -> BindingRequest:
    """Parses a binding request with USERNAME and MESSAGE-INTEGRITY; raises StunError for anything else."""
    if not 20 <= len(data) <= MAX_MESSAGE_BYTES or len(data) % 4:
        raise StunError(f"STUN message of {len(data)} octets")
    kind, length, cookie, transaction_id = _HEADER.unpack_from(data)
    if cookie != MAGIC_COOKIE or length != len(data) - 20:
        raise StunError("no STUN magic cookie, or a length that does not match")
    if kind != BINDING_REQUEST:
        raise StunError(f"STUN message type {kind:#06x}, only binding requests are taken")
    username: str | None = None
    priority = 0
    use_candidate = peer_controlled = False
    unknown: list[int] = []
    integrity: bytes | None = None
    covered = b""
    at = 20
    attributes = 0
    while at < len(data):
        attributes += 1
        if attributes > _MAX_ATTRIBUTES:
            raise StunError(f"STUN message of more than {_MAX_ATTRIBUTES} attributes")
        attribute, size = _ATTRIBUTE.unpack_from(data, at)
        end = at + 4 + size
        if end > len(data):
            raise StunError(f"STUN attribute {attribute:#06x} passes the end of the message")
        if attribute in _FIXED_SIZES and size != _FIXED_SIZES[attribute]:
            raise StunError(f"STUN attribute {attribute:#06x} of {size} octets")
        value = data[at + 4 : end]
        if attribute == FINGERPRINT:
            crc = zlib.crc32(data[:at]) ^ _FINGERPRINT_XOR
            if at + 8 != len(data) or int.from_bytes(value, "big") != crc:
                raise StunError("STUN fingerprint is wrong")
        elif integrity is not None:
            pass  # only FINGERPRINT counts after MESSAGE-INTEGRITY (section 14.5)
        elif attribute == USERNAME and username is None:  # of several the first counts (section 5)
            if size > _MAX_USERNAME_BYTES:
                raise StunError(f"STUN username of {size} octets")
            username = value.decode("utf-8", "replace")
        elif attribute == PRIORITY:
            priority = int.from_bytes(value, "big")
        elif attribute == USE_CANDIDATE:
            use_candidate = True
        elif attribute == ICE_CONTROLLED:
            peer_controlled = True
        elif attribute == MESSAGE_INTEGRITY:
            integrity = value
            covered = data[:2] + (at + 24 - 20).to_bytes(2, "big") + data[4:at]
        elif attribute < 0x8000 and attribute not in _UNDERSTOOD:
            unknown.append(attribute)
        at = end + (-size % 4)
    if username is None or ":" not in username or integrity is None:
        raise StunError("STUN request without ICE username or message integrity")
    local, _, remote = username.partition(":")
    return BindingRequest(
        transaction_id=transaction_id,
        local_ufrag=local,
        remote_ufrag=remote,
        priority=priority,
        use_candidate=use_candidate,
        peer_controlled=peer_controlled,
        unknown=tuple(unknown),
        integrity=integrity,
        covered=covered,
    )


def verify(request: BindingRequest, password: bytes) -> bool:
    """True when MESSAGE-INTEGRITY was made with this password (section 9.1.3)."""
    return hmac.compare_digest(hmac.digest(password, request.covered, "sha1"), request.integrity)


def _message(kind: int, transaction_id: bytes, attributes: bytes, password: bytes) -> bytes:
    """Closes a message with MESSAGE-INTEGRITY and FINGERPRINT (sections 14.5, 14.7)."""
    head = _HEADER.pack(kind, len(attributes) + 24, MAGIC_COOKIE, transaction_id) + attributes
    integrity = hmac.digest(password, head, "sha1")
    body = attributes + _ATTRIBUTE.pack(MESSAGE_INTEGRITY, 20) + integrity
    whole = _HEADER.pack(kind, len(body) + 8, MAGIC_COOKIE, transaction_id) + body
    crc = zlib.crc32(whole) ^ _FINGERPRINT_XOR
    return whole + _ATTRIBUTE.pack(FINGERPRINT, 4) + crc.to_bytes(4, "big")


def success_response(request: BindingRequest, host: str, port: int, password: bytes) -> bytes:
    """The answer that tells the sender its own address (XOR-MAPPED-ADDRESS, section 14.2)."""
    address = ipaddress.ip_address(host).packed
    mask = (_COOKIE + request.transaction_id)[: len(address)]
    xored = int.from_bytes(address, "big") ^ int.from_bytes(mask, "big")
    family = 1 if len(address) == 4 else 2
    value = (
        bytes((0, family))
        + (port ^ MAGIC_COOKIE >> 16).to_bytes(2, "big")
        + xored.to_bytes(len(address), "big")
    )
    attribute = _ATTRIBUTE.pack(XOR_MAPPED_ADDRESS, len(value)) + value
    return _message(BINDING_SUCCESS, request.transaction_id, attribute, password)


def error_response(request: BindingRequest, code: int, reason: str, password: bytes) -> bytes:
    """An error answer; 420 lists the attributes that were not understood (sections 14.8, 14.9)."""
    text = reason.encode()
    value = bytes((0, 0, code // 100, code % 100)) + text
    attributes = _ATTRIBUTE.pack(ERROR_CODE, len(value)) + value + bytes(-len(value) % 4)
    if request.unknown:
        listed = b"".join(kind.to_bytes(2, "big") for kind in request.unknown)
        attributes += _ATTRIBUTE.pack(UNKNOWN_ATTRIBUTES, len(listed)) + listed + bytes(-len(listed) % 4)
    return _message(BINDING_ERROR, request.transaction_id, attributes, password)
