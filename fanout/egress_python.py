"""The plain Python form of the egress: always works, and the reference for `egress_kernel.c`.

Packet indexes are those of RFC 3711 section 3.3.1: rollover counter and sequence number in one number of
48 bits, so nothing wraps but the header field. Headers are built as one whole number; that takes less time
than Struct.pack.
"""

import contextlib
import errno
import socket
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from hashlib import sha1
from struct import Struct
from time import monotonic_ns
from typing import TypeVar

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from fanout.ice.paths import Destination
from fanout.packetizing.packetized import Runs
from fanout.srtp import SessionKeys

MAX_PAYLOAD = 1500
MAX_RUN = 64  # segments that Linux takes in one train (UDP_MAX_SEGMENTS before 6.9)
LOG_RUNS = 512
# In steps of 10 ms: whatever happens, half a second is the most that a receiver may be behind.
MOST_DELAY = 50

_RTP_HEADER = 12
_SHA1_80_TAG = 10
_GCM_TAG = 16
_INDEX_END = 1 << 48
_MARKER = 1 << 87
_EXTENSION = 1 << 92
_VERSION_2 = 2 << 94
_SEQUENCE_AT = 64
_ONE_BYTE_FORM = 0xBEDE  # RFC 8285 section 4.2

_SOL_UDP = 17
_UDP_SEGMENT = 103
_SEGMENT_SIZE = Struct("=H")
_IP_PKTINFO = 8
_IPV6_PKTINFO = 50
# What a way out without segmentation offload answers; EMSGSIZE for a path MTU below the packets' size, and
# for trains that are longer than an IP packet can be.
_NO_GSO = frozenset({errno.EIO, errno.EINVAL, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EMSGSIZE})

_T = TypeVar("_T")
_Control = list[tuple[int, int, bytes]]


@dataclass(frozen=True, slots=True)
class Extensions:
    """The ids of the answer's header extensions (RFC 8285, one-byte form, 1 to 14); 0: not negotiated.

    Raises ValueError for other ids.
    """

    transport_sequence: int = 0
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
    capture_time: int = 0
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time, the form of 8 octets: NTP time."
    playout_delay: int = 0
    "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay; from `Lane.least_delay` to `MOST_DELAY`."

    def __post_init__(self) -> None:
        for item in fields(self):
            _whole(item.name, getattr(self, item.name), 14)


class TransportLog:
    """Transport-wide sequence numbers of one viewer and when they left; all its lanes share one.

    Remembers runs, each in 16 octets, because a viewer shall cost little memory: 48 bits of its time in ns
    and 16 of the sequence number behind it; 32 bits of `octets` behind it, 12 of the size of its packets, 12
    of the size of the last, 8 of their number less one. What is cut off is found again from the newest.
    """

    __slots__ = ("_left", "_newest_ns", "_runs", "_what", "octets", "sequence")

    def __init__(self) -> None:
        self.sequence = 0
        "The next transport-wide sequence number, not wrapped (on the wire: its lower 16 bits)."
        self.octets = 0
        "Datagram octets of all that the lanes sent, with a transport-wide sequence number or without."
        self._runs = 0
        self._newest_ns = 0
        self._left = array("Q", bytes(8 * LOG_RUNS))
        self._what = array("Q", bytes(8 * LOG_RUNS))

    def _add(self, numbered: bool, count: int, size: int, last_size: int) -> None:
        self.octets += size * (count - 1) + last_size
        if not numbered:
            return
        self.sequence += count
        self._newest_ns = monotonic_ns()
        at = self._runs % LOG_RUNS
        self._runs += 1
        self._left[at] = (self._newest_ns & (1 << 48) - 1) << 16 | self.sequence & 0xFFFF
        self._what[at] = (self.octets & 0xFFFF_FFFF) << 32 | size << 20 | last_size << 8 | count - 1

    def sent(self, sequence: int) -> tuple[int, int] | None:
        """When a packet left: CLOCK_MONOTONIC in ns of its run, and `octets` up to and with it.

        `sequence` is what the wire has, 16 bits; raises ValueError for others. None when it is not among
        the last `LOG_RUNS` runs. The newest packet with this number is meant.
        """
        _whole("sequence", sequence, 0xFFFF)
        back = (self.sequence - 1 - sequence) & 0xFFFF
        low, high = 0, min(self._runs, LOG_RUNS)
        # The oldest run that ends behind the packet; 512 runs of 64 are fewer than 2**16.
        while low < high:
            middle = (low + high) // 2
            if self._end(middle) <= back:
                low = middle + 1
            else:
                high = middle
        if low == 0:
            return None
        at = (self._runs - low) % LOG_RUNS
        what = self._what[at]
        behind = back - self._end(low - 1)
        if behind > what & 0xFF:
            return None
        octets = self.octets - ((self.octets - (what >> 32)) & 0xFFFF_FFFF)
        if behind:
            octets -= (what >> 8 & 0xFFF) + (behind - 1) * (what >> 20 & 0xFFF)
        left = self._newest_ns - ((self._newest_ns - (self._left[at] >> 16)) & (1 << 48) - 1)
        return left, octets

    def _end(self, run: int) -> int:
        """Packets that were numbered after a run; runs are counted from the newest."""
        return (self.sequence - self._left[(self._runs - 1 - run) % LOG_RUNS]) & 0xFFFF


class Lane:
    """One SRTP stream (one SSRC) to one viewer: its numbers, header, keys and address.

    `index` is that of the first packet. Raises TypeError and ValueError for wrong arguments.
    """

    __slots__ = (
        "_address",
        "_bare",
        "_control",
        "_extensions",
        "_headers",
        "_index",
        "_ipv6",
        "_least_delay",
        "_log",
        "_numbered",
        "_octets",
        "_packets",
        "_payload_type",
        "_repeatable",
        "_seal",
        "_ssrc",
        "_tag",
        "_timestamp_offset",
        "sparse",
    )

    def __init__(
        self,
        keys: SessionKeys,
        ssrc: int,
        payload_type: int,
        index: int,
        timestamp_offset: int,
        extensions: Extensions,
        log: TransportLog,
    ) -> None:
        _instance("keys", keys, SessionKeys)
        _instance("extensions", extensions, Extensions)
        _instance("log", log, TransportLog)
        self._ssrc = _whole("ssrc", ssrc, 0xFFFF_FFFF)
        self._payload_type = _whole("payload_type", payload_type, 127)
        self._index = self._repeatable = _whole("index", index, _INDEX_END)
        self._timestamp_offset = _instance("timestamp_offset", timestamp_offset, int) & 0xFFFF_FFFF
        self._log = log
        self.sparse = False
        "Only packets with a capture time have a transport-wide sequence number."
        self._numbered = extensions.transport_sequence != 0
        self._extensions = extensions
        self._least_delay = 0
        self._headers = (_Header(extensions, False), _Header(extensions, True))
        self._bare = _Header(replace(extensions, transport_sequence=0), False)
        self._seal: Callable[[int, bytes, bytes], bytes]
        if keys.authentication_key:
            self._seal, self._tag = _CounterModeSha1(keys, ssrc).seal, _SHA1_80_TAG
        else:
            self._seal, self._tag = _Gcm(keys, ssrc).seal, _GCM_TAG
        self._address: tuple[str, int] | None = None
        self._ipv6 = False
        self._control: _Control = []
        self._packets = 0
        self._octets = 0

    @property
    def ssrc(self) -> int:
        return self._ssrc

    @property
    def index(self) -> int:
        """The 48-bit packet index of the next packet."""
        return self._index

    @property
    def packets(self) -> int:
        """Packets that the egress gave to the kernel or `protect` handed out."""
        return self._packets

    @property
    def octets(self) -> int:
        """RTP payload octets of `packets`."""
        return self._octets

    @property
    def payload_type(self) -> int:
        """Set for a change of the codec; packets before it cannot be repeated any more."""
        return self._payload_type

    @payload_type.setter
    def payload_type(self, value: int) -> None:
        if _whole("payload_type", value, 127) != self._payload_type:
            self._payload_type = value
            self._repeatable = self._index

    @property
    def least_delay(self) -> int:
        """Of the playout delay, 10 ms each, up to `MOST_DELAY`; packets before a change are not repeated."""
        return self._least_delay

    @least_delay.setter
    def least_delay(self, value: int) -> None:
        if _whole("least_delay", value, MOST_DELAY) != self._least_delay:
            self._least_delay = value
            self._headers = (self._headers[0], _Header(self._extensions, True, value))
            self._repeatable = self._index

    @property
    def timestamp_offset(self) -> int:
        """What is added to timestamps, modulo 2**32; packets before a change cannot be repeated any more."""
        return self._timestamp_offset

    @timestamp_offset.setter
    def timestamp_offset(self, value: int) -> None:
        offset = _instance("timestamp_offset", value, int) & 0xFFFF_FFFF
        if offset != self._timestamp_offset:
            self._timestamp_offset = offset
            self._repeatable = self._index

    def aim(self, destination: Destination) -> None:
        """Where the egress sends this lane; raises ValueError for what is not an address and a port."""
        _instance("destination", destination, Destination)
        family, host = _address(destination.host)
        port = _whole("port", destination.port, 0xFFFF)
        control: _Control = []
        if destination.local:
            local_family, local = _address(destination.local)
            if local_family != family:
                raise ValueError("host and local are of two families")
            if family == socket.AF_INET6:
                control = [(socket.IPPROTO_IPV6, _IPV6_PKTINFO, local + bytes(4))]
            else:
                control = [(socket.IPPROTO_IP, _IP_PKTINFO, bytes(4) + local + bytes(4))]
        # From the parsed octets: the kernel form takes the same spellings.
        self._address = (socket.inet_ntop(family, host), port)
        self._ipv6 = family == socket.AF_INET6
        self._control = control

    def protect(
        self, payloads: Sequence[bytes], timestamp: int, marker: bool, capture_ntp: int
    ) -> list[bytes]:
        """Whole SRTP packets, for ways other than the egress; they count as sent.

        `timestamp` is not wrapped and without the offset; `marker` is for the last packet. With
        `capture_ntp` (64-bit NTP time, 0: none) every packet of the call has capture time and playout
        delay, where negotiated, so that all keep one size. Raises OverflowError when the index is used up.
        """
        payloads = tuple(payloads)
        for payload in payloads:
            _check_payload(payload)
        _check_times(timestamp, capture_ntp)
        self._check_room(len(payloads))
        if not payloads:
            return []
        pieces = self._protect(payloads, timestamp, marker, capture_ntp)
        packets = [pieces[at] + pieces[at + 1] for at in range(0, len(pieces), 2)]
        sizes = [len(packet) for packet in packets]
        first = 0
        for at in range(1, len(sizes) + 1):
            run = sizes[first:at]
            if at == len(sizes) or sizes[at] > run[0] or run[-1] < run[0] or len(run) == MAX_RUN:
                self._log._add(self._is_numbered(capture_ntp), len(run), run[0], run[-1])
                first = at
        self._packets += len(payloads)
        self._octets += sum(map(len, payloads))
        return packets

    def repeat(self, payload: bytes, index: int, timestamp: int, marker: bool, capture_ntp: int) -> bytes:
        """A packet that was sent, once more and octet for octet: same header, same ciphertext.

        All arguments must be what they were then. Raises ValueError when transport-wide sequence numbers
        are negotiated, because the header would be another and AES-GCM would use a nonce twice (RFC 7714
        section 8.1), and for an index that was not used with the present payload type and offset.
        """
        _check_payload(payload)
        _check_times(timestamp, capture_ntp)
        _whole("index", index, _INDEX_END)
        if self._numbered:
            raise ValueError("packets with transport-wide sequence numbers are not repeated")
        if not self._repeatable <= index < self._index:
            raise ValueError("no packet with this header has this index")
        present, self._index = self._index, index
        header, body = self._protect((payload,), timestamp, marker, capture_ntp)
        self._index = present
        return header + body

    def _is_numbered(self, capture_ntp: int) -> bool:
        return self._numbered and (capture_ntp != 0 or not self.sparse)

    def _check_room(self, packets: int) -> None:
        if self._index + packets > _INDEX_END:
            raise OverflowError(f"the packet index of SSRC {self._ssrc} is used up")

    def _protect(
        self, payloads: Sequence[bytes], timestamp: int, marker: bool, capture_ntp: int
    ) -> list[bytes]:
        """Header, body, header, body, …; advances the index."""
        numbered = self._is_numbered(capture_ntp)
        layout = self._headers[capture_ntp != 0] if numbered or capture_ntp else self._bare
        size, sequence_at, transport_at = layout.size, layout.sequence_at, layout.transport_at
        header = (
            (
                self._payload_type << 80
                | ((timestamp + self._timestamp_offset) & 0xFFFF_FFFF) << 32
                | self._ssrc
            )
            << layout.shift
            | layout.constant
            | capture_ntp * layout.capture_unit
        )
        index, transport, seal = self._index, self._log.sequence, self._seal
        transport_mask = 0xFFFF if numbered else 0
        pieces: list[bytes] = []
        add = pieces.append
        marked = len(payloads) - 1 if marker else -1
        for position, payload in enumerate(payloads):
            if position == marked:
                header |= layout.marker
            octets = (
                header | (index & 0xFFFF) << sequence_at | (transport & transport_mask) << transport_at
            ).to_bytes(size, "big")
            add(octets)
            add(seal(index, octets, payload))
            index += 1
            transport += 1
        self._index = index
        return pieces


class Egress:
    """Sends lanes on the worker's UDP sockets, one system call for each run (UDP_SEGMENT, udp(7)).

    Takes file descriptors, -1 where there is no such socket. They stay the caller's, who keeps them open
    while it sends. `gso`: the kernel takes datagram trains (`segmentation_offload`). Raises OSError for a
    descriptor that is not a socket.

    An index is used up also when the kernel does not take its run: AES-GCM must not use it twice (RFC 7714
    section 8.1), and the gap tells the receiver.
    """

    __slots__ = ("_gso", "_segment", "_sockets", "packets", "refused")

    def __init__(self, ipv4_fd: int, ipv6_fd: int, gso: bool) -> None:
        self._sockets: dict[bool, socket.socket] = {}
        for ipv6, fd in ((False, ipv4_fd), (True, ipv6_fd)):
            if _instance("fd", fd, int) >= 0:
                family = socket.AF_INET6 if ipv6 else socket.AF_INET
                self._sockets[ipv6] = socket.socket(family, socket.SOCK_DGRAM, 0, fileno=fd)
        self._gso = bool(gso)
        self._segment: dict[int, _Control] = {}
        self.packets = 0
        "RTP packets given to the kernel."
        self.refused = 0
        "Runs that the kernel did not take whole: its buffer is full or there is no route."

    def __del__(self) -> None:
        for sock in getattr(self, "_sockets", {}).values():  # absent when the constructor got wrong arguments
            sock.detach()

    def send(self, lane: Lane, runs: Runs, timestamp: int, marker: bool, capture_ntp: int) -> bool:
        """Sends runs to one viewer; False when one is refused, and what follows it is not sent.

        Arguments are those of `Lane.protect`; `marker` is for the last packet of the last run. Within a run
        all payloads have one size but the last, which may be smaller; raises ValueError for other runs.
        """
        return not self.send_many((lane,), runs, timestamp, marker, capture_ntp)

    def send_many(
        self, lanes: Sequence[Lane], runs: Runs, timestamp: int, marker: bool, capture_ntp: int
    ) -> list[int]:
        """Sends the same runs to many viewers; the positions in `lanes` of those that were refused one."""
        lanes = tuple(lanes)
        packets = _check_runs(runs)
        _check_times(timestamp, capture_ntp)
        for lane in lanes:
            _instance("lane", lane, Lane)
            lane._check_room(packets)
        last = len(runs) - 1
        refused = []
        for position, lane in enumerate(lanes):
            for number, run in enumerate(runs):
                if not self._send_run(lane, run, timestamp, marker and number == last, capture_ntp):
                    self.refused += 1
                    refused.append(position)
                    break
        return refused

    def _send_run(self, lane: Lane, run: tuple[bytes, ...], timestamp: int, marker: bool, ntp: int) -> bool:
        count = len(run)
        sock = self._sockets.get(lane._ipv6)
        if sock is None or lane._address is None or lane._index + count > _INDEX_END:
            lane._index = min(lane._index + count, _INDEX_END)
            return False
        pieces = lane._protect(run, timestamp, marker, ntp)
        sent = self._transmit(sock, pieces, lane._address, lane._control)
        if sent:
            around = len(pieces[0]) + lane._tag
            lane._log._add(lane._is_numbered(ntp), sent, around + len(run[0]), around + len(run[sent - 1]))
            lane._packets += sent
            lane._octets += len(run[0]) * (sent - 1) + len(run[sent - 1])
            self.packets += sent
        return sent == count

    def _transmit(
        self, sock: socket.socket, pieces: list[bytes], address: tuple[str, int], control: _Control
    ) -> int:
        """Packets of the run that the kernel took."""
        if self._gso and len(pieces) > 2:
            size = len(pieces[0]) + len(pieces[1])
            segment = self._segment.get(size)
            if segment is None:
                segment = [(_SOL_UDP, _UDP_SEGMENT, _SEGMENT_SIZE.pack(size))]
                self._segment[size] = segment
            try:
                sock.sendmsg(pieces, segment + control, socket.MSG_DONTWAIT, address)
            except OSError as exc:
                # This way out, not the kernel, may be what cannot take a train.
                if exc.errno not in _NO_GSO:
                    return 0
            else:
                return len(pieces) // 2
        for at in range(0, len(pieces), 2):
            try:
                sock.sendmsg(pieces[at : at + 2], control, socket.MSG_DONTWAIT, address)
            except OSError:
                return at // 2
        return len(pieces) // 2


class _Header:
    """Where the fields of the RTP header stand in the whole number that it is, with its extension or not."""

    __slots__ = (
        "capture_unit",
        "constant",
        "marker",
        "sequence_at",
        "shift",
        "size",
        "transport_at",
    )

    def __init__(self, extensions: Extensions, timed: bool, least_delay: int = 0) -> None:
        elements = bytearray()
        transport_end = capture_end = 0
        if extensions.transport_sequence:
            elements += bytes((extensions.transport_sequence << 4 | 1, 0, 0))
            transport_end = len(elements)
        if timed and extensions.capture_time:
            elements += bytes((extensions.capture_time << 4 | 7,)) + bytes(8)
            capture_end = len(elements)
        if timed and extensions.playout_delay:
            delay = least_delay << 12 | MOST_DELAY
            elements += bytes((extensions.playout_delay << 4 | 2,)) + delay.to_bytes(3, "big")
        elements += bytes(-len(elements) % 4)
        extension = b""
        first = _VERSION_2
        if elements:
            extension = _ONE_BYTE_FORM.to_bytes(2, "big") + (len(elements) // 4).to_bytes(2, "big") + elements
            first |= _EXTENSION
        self.size = _RTP_HEADER + len(extension)
        self.shift = 8 * len(extension)
        self.constant = first << self.shift | int.from_bytes(extension, "big")
        self.marker = _MARKER << self.shift
        self.sequence_at = _SEQUENCE_AT + self.shift
        self.transport_at = 8 * (len(elements) - transport_end)
        self.capture_unit = 1 << 8 * (len(elements) - capture_end) if capture_end else 0


class _Gcm:
    """AEAD_AES_128_GCM, AEAD_AES_256_GCM (RFC 7714 sections 8.1, 8.2): the tag follows the ciphertext."""

    __slots__ = ("_encrypt", "_iv")

    def __init__(self, keys: SessionKeys, ssrc: int) -> None:
        self._encrypt = AESGCM(keys.cipher_key).encrypt
        self._iv = int.from_bytes(keys.salt, "big") ^ ssrc << 48

    def seal(self, index: int, header: bytes, payload: bytes) -> bytes:
        return self._encrypt((self._iv ^ index).to_bytes(12, "big"), payload, header)


class _CounterModeSha1:
    """AES_CM_128_HMAC_SHA1_80 (RFC 3711 sections 4.1.1, 4.2).

    One cipher for all packets, and HMAC from its two keyed hashes (RFC 2104 section 2): making either anew
    for each packet takes most of its time.
    """

    __slots__ = ("_encryptor", "_inner", "_iv", "_outer")

    def __init__(self, keys: SessionKeys, ssrc: int) -> None:
        self._encryptor = Cipher(AES(keys.cipher_key), CTR(bytes(16))).encryptor()
        self._iv = int.from_bytes(keys.salt, "big") << 16 ^ ssrc << 64
        block = keys.authentication_key.ljust(64, b"\0")
        self._inner = sha1(bytes(octet ^ 0x36 for octet in block))
        self._outer = sha1(bytes(octet ^ 0x5C for octet in block))

    def seal(self, index: int, header: bytes, payload: bytes) -> bytes:
        self._encryptor.reset_nonce((self._iv ^ index << 16).to_bytes(16, "big"))
        body = self._encryptor.update(payload)
        inner, outer = self._inner.copy(), self._outer.copy()
        # The rollover counter is authenticated and not sent.
        inner.update(header + body + (index >> 16).to_bytes(4, "big"))
        outer.update(inner.digest())
        return body + outer.digest()[:_SHA1_80_TAG]


def _instance(name: str, value: _T, kind: type) -> _T:
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {kind.__name__}, not {type(value).__name__}")
    return value


def _whole(name: str, value: int, maximum: int) -> int:
    if not 0 <= _instance(name, value, int) <= maximum:
        raise ValueError(f"{name} must be 0 to {maximum}")
    return value


def _address(text: str) -> tuple[socket.AddressFamily, bytes]:
    """Family and octets of an address without port, brackets and scope; raises ValueError."""
    _instance("address", text, str)
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError, ValueError):
            return family, socket.inet_pton(family, text)
    raise ValueError("not an IPv4 or IPv6 address")


def _check_payload(payload: bytes) -> None:
    if len(_instance("payload", payload, bytes)) > MAX_PAYLOAD:
        raise ValueError(f"a payload has at most {MAX_PAYLOAD} octets, not {len(payload)}")


def _check_times(timestamp: int, capture_ntp: int) -> None:
    _instance("timestamp", timestamp, int)
    _whole("capture_ntp", capture_ntp, (1 << 64) - 1)


def _check_runs(runs: Runs) -> int:
    """The number of their packets."""
    packets = 0
    for run in _instance("runs", runs, tuple):
        if not 1 <= len(_instance("run", run, tuple)) <= MAX_RUN:
            raise ValueError(f"a run has 1 to {MAX_RUN} payloads, not {len(run)}")
        for payload in run:
            _check_payload(payload)
        sizes = [len(payload) for payload in run]
        if sizes.count(sizes[0]) < len(run) - (sizes[-1] < sizes[0]):
            raise ValueError("the payloads of a run have one size; only the last may be smaller")
        packets += len(run)
    return packets
