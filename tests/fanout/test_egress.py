"""Both forms of the egress: held to libsrtp, to each other octet for octet, and to the kernel's sockets."""

import contextlib
import gc
import importlib.util
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pylibsrtp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.rtp import RtpPacket, parse_rtp, serialize_rtp
from fanout import egress, egress_python
from fanout.egress import Extensions
from fanout.egress_python import LOG_RUNS, MAX_PAYLOAD, MAX_RUN
from fanout.ice.paths import Destination
from fanout.packetizing.packetized import Runs, group
from fanout.srtp import LENGTHS, MasterKey, ProfileName, SessionKeys, session_keys

# A sanitized build of the kernel form (tests/soak/test_egress_sanitized.py); else the installed one.
KERNEL_PATH = os.environ.get("CCTV3_TEST_EGRESS_KERNEL")

SSRC = 0xDEADBEEF
PAYLOAD_TYPE = 102
OFFSET = 0xFFFF_0000
NTP = 0xE9A1B2C3_80000001
INDEX_END = 1 << 48
ALL = Extensions(transport_sequence=3, capture_time=14, playout_delay=1)
NONE = Extensions()
POLICIES: dict[ProfileName, int] = {
    "SRTP_AEAD_AES_128_GCM": pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "SRTP_AEAD_AES_256_GCM": pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
    "SRTP_AES128_CM_SHA1_80": pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
}
GCM: ProfileName = "SRTP_AEAD_AES_128_GCM"
LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def load_kernel() -> ModuleType:
    if KERNEL_PATH is None:
        return importlib.import_module("fanout._egress")
    spec = importlib.util.spec_from_file_location("fanout._egress", KERNEL_PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FORMS = {"python": egress_python, "kernel": load_kernel()}


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Any:
    return FORMS[request.param]


def master_key(profile: ProfileName) -> MasterKey:
    key, salt, _ = LENGTHS[profile]
    return MasterKey(profile, bytes(range(key)), bytes(range(100, 100 + salt)))


def keys_of(profile: ProfileName) -> SessionKeys:
    return session_keys(master_key(profile))


def libsrtp(profile: ProfileName, ssrc_type: int) -> pylibsrtp.Session:
    master = master_key(profile)
    policy = pylibsrtp.Policy(
        key=master.key + master.salt, ssrc_type=ssrc_type, srtp_profile=POLICIES[profile]
    )
    return pylibsrtp.Session(policy)


def lane_of(
    form: Any, *, index: int = 0, extensions: Extensions = NONE, profile: ProfileName = GCM, log: Any = None
) -> Any:
    log = form.TransportLog() if log is None else log
    return form.Lane(keys_of(profile), SSRC, PAYLOAD_TYPE, index, OFFSET, extensions, log)


@dataclass(frozen=True)
class Ends:
    """A sender's two sockets and receivers that they reach over loopback."""

    senders: dict[int, socket.socket]
    receivers: dict[int, socket.socket]

    def egress(self, form: Any, gso: bool) -> Any:
        return form.Egress(self.senders[socket.AF_INET].fileno(), self.senders[socket.AF_INET6].fileno(), gso)

    def destination(self, family: int = socket.AF_INET, local: str = "") -> Destination:
        host, port = self.receivers[family].getsockname()[:2]
        return Destination(host, port, local)

    def received(self, family: int = socket.AF_INET) -> list[bytes]:
        """What came; loopback delivers before a send returns."""
        datagrams = []
        with contextlib.suppress(BlockingIOError):
            while True:
                datagrams.append(self.receivers[family].recv(65_535))
        return datagrams


@contextlib.contextmanager
def sockets() -> Iterator[Ends]:
    with contextlib.ExitStack() as stack:
        ends = Ends({}, {})
        for family, host in LOOPBACK.items():
            for side in (ends.senders, ends.receivers):
                sock = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
                sock.setblocking(False)
                side[family] = sock
            ends.senders[family].bind(("0.0.0.0" if family == socket.AF_INET else "::", 0))
            ends.receivers[family].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            ends.receivers[family].bind((host, 0))
        yield ends


@pytest.fixture
def ends() -> Iterator[Ends]:
    with sockets() as pair:
        yield pair


# ---- SRTP, held to libsrtp ----


@pytest.mark.parametrize("extensions", [NONE, ALL], ids=["plain", "extensions"])
@pytest.mark.parametrize("profile", POLICIES)
def test_libsrtp_reads_a_stream_across_sequence_wraps(
    form: Any, profile: ProfileName, extensions: Extensions
) -> None:
    receiver = libsrtp(profile, pylibsrtp.Policy.SSRC_ANY_INBOUND)
    lane = lane_of(form, index=40_000, extensions=extensions, profile=profile)
    payloads = [bytes(range(size)) for size in range(48)] + [bytes(1150)]
    for timestamp in range(2000):
        index = lane.index
        packets = lane.protect(payloads, timestamp, True, NTP if timestamp % 2 else 0)
        # Each once in a while, and often enough that libsrtp follows the rollover counter.
        for at in (timestamp % 48, 48):
            sequence = (index + at) & 0xFFFF
            expected = RtpPacket(
                PAYLOAD_TYPE, at == 48, sequence, (timestamp + OFFSET) % 2**32, SSRC, payloads[at]
            )
            assert parse_rtp(receiver.unprotect(packets[at])) == expected
    assert lane.index >> 16 == 2
    assert lane.packets == lane.index - 40_000


@pytest.mark.parametrize("profile", POLICIES)
def test_octet_for_octet_what_libsrtp_sends(form: Any, profile: ProfileName) -> None:
    sender = libsrtp(profile, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
    for index in [*range(10), *range(100, 66_000, 371), *range(66_000, 140_000, 411)]:
        lane = lane_of(form, index=index, profile=profile)
        payload = bytes(n % 251 for n in range(index % 1200))
        plain = RtpPacket(PAYLOAD_TYPE, False, index & 0xFFFF, (index + OFFSET) % 2**32, SSRC, payload)
        assert lane.protect((payload,), index, False, NTP) == [sender.protect(serialize_rtp(plain))]


# ---- Header extensions ----


@pytest.mark.parametrize(
    ("extensions", "ntp", "expected"),
    [
        (NONE, NTP, ""),
        (Extensions(capture_time=2, playout_delay=3), 0, ""),
        (Extensions(transport_sequence=5), 0, "BEDE0001 51000200"),
        (Extensions(transport_sequence=5), NTP, "BEDE0001 51000200"),
        (Extensions(capture_time=2), NTP, "BEDE0003 27E9A1B2 C3800000 01000000"),
        (Extensions(playout_delay=14), NTP, "BEDE0001 E2000032"),
        (Extensions(capture_time=2, playout_delay=3), NTP, "BEDE0004 27E9A1B2 C3800000 01320000 32000000"),
        (ALL, 0, "BEDE0001 31000200"),
        (ALL, NTP, "BEDE0004 310002E7 E9A1B2C3 80000001 12000032"),
    ],
)
def test_header(form: Any, extensions: Extensions, ntp: int, expected: str) -> None:
    log = form.TransportLog()
    lane_of(form, extensions=Extensions(transport_sequence=1), log=log).protect([b""] * 2, 0, False, 0)
    lane = lane_of(form, index=0x1FFFF, extensions=extensions, log=log)
    (packet,) = lane.protect([b"x"], 0x1_0000_0005, True, ntp)
    first = "90" if expected else "80"
    header = bytes.fromhex(first + "E6 FFFF FFFF0005 DEADBEEF" + expected)
    assert packet[: len(header)] == header
    assert len(packet) == len(header) + 1 + 16


@pytest.mark.parametrize("ids", [{"transport_sequence": 15}, {"capture_time": -1}, {"playout_delay": 16}])
def test_ids_of_the_two_byte_form_are_refused(ids: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(ids))):
        Extensions(**ids)


# ---- The kernel form, held to the reference ----

extension_ids = st.integers(0, 14)
indexes = st.one_of(
    st.integers(0, 70_000),
    st.builds(lambda at, back: (at << 16) - back, st.integers(1, 1 << 32), st.integers(0, 40)),
).map(lambda index: min(index, INDEX_END - 400))
payload_lists = st.lists(st.binary(max_size=70) | st.integers(1000, MAX_PAYLOAD).map(bytes), max_size=30)
calls = st.lists(
    st.tuples(
        payload_lists,
        st.integers(-(1 << 65), 1 << 65),
        st.booleans(),
        st.just(0) | st.integers(0, (1 << 64) - 1),
        st.none() | st.integers(0, 127),
        st.none() | st.integers(-(1 << 33), 1 << 33),
        st.booleans(),
        st.integers(0, 50),
    ),
    max_size=6,
)


@given(
    st.sampled_from(list(POLICIES)),
    st.builds(Extensions, extension_ids, extension_ids, extension_ids),
    indexes,
    calls,
    st.integers(0, 0xFFFF_FFFF),
)
def test_the_forms_are_the_same_octet_for_octet(
    profile: ProfileName, extensions: Extensions, index: int, calls: list[Any], ssrc: int
) -> None:
    logs = [form.TransportLog() for form in FORMS.values()]
    lanes = [
        form.Lane(keys_of(profile), ssrc, 0, index, -5, extensions, log)
        for form, log in zip(FORMS.values(), logs, strict=True)
    ]
    for payloads, timestamp, marker, ntp, payload_type, offset, sparse, delay in calls:
        results = []
        for lane, log in zip(lanes, logs, strict=True):
            lane.sparse = sparse
            lane.least_delay = delay
            if payload_type is not None:
                lane.payload_type = payload_type
            if offset is not None:
                lane.timestamp_offset = offset
            at = lane.index
            packets = lane.protect(payloads, timestamp, marker, ntp)
            if packets and not extensions.transport_sequence:
                repeated = lane.repeat(payloads[-1], lane.index - 1, timestamp, marker, ntp)
                assert repeated == packets[-1]
            if len(packets) > 1 and not extensions.transport_sequence:
                assert lane.repeat(payloads[0], at, timestamp, False, ntp) == packets[0]
            known = [log.sent(sequence) for sequence in range(log.sequence & 0xFFFF)]
            results.append(
                (
                    packets,
                    lane.index,
                    lane.packets,
                    lane.octets,
                    lane.payload_type,
                    lane.timestamp_offset,
                    log.sequence,
                    log.octets,
                    [octets for _, octets in filter(None, known)],
                )
            )
        assert results[0] == results[1]


def test_sparse_numbers_only_packets_with_a_capture_time(form: Any) -> None:
    log = form.TransportLog()
    lane = lane_of(form, extensions=ALL, log=log)
    lane.sparse = True
    (bare,) = lane.protect([b"x"], 0, True, 0)
    assert bare[0] == 0x80 and len(bare) == 12 + 1 + 16 and (log.sequence, log.octets) == (0, len(bare))
    (told,) = lane.protect([b"x"], 0, True, NTP)
    assert told[0] == 0x90 and log.sequence == 1 and log.sent(0)[1] == len(bare) + len(told)
    with pytest.raises(ValueError, match="not repeated"):
        lane.repeat(b"x", lane.index - 2, 0, True, 0)
    lane.sparse = False
    (all_told,) = lane.protect([b"x"], 0, True, 0)
    assert all_told[0] == 0x90 and log.sequence == 2


def test_transport_sequence_wraps_alike() -> None:
    wire = []
    for form in FORMS.values():
        log = form.TransportLog()
        lane = lane_of(form, index=65_000, extensions=ALL, log=log)
        for _ in range(0, 65_500, 500):
            lane.protect([b""] * 500, 0, False, 0)
        wire.append([lane.protect([b"x"] * 60, 7, True, NTP), log.sequence, log.octets, lane.index])
        assert [packet[17:19] for packet in wire[-1][0]][35:37] == [b"\xff\xff", b"\0\0"]
        octets = len(wire[-1][0][0])
        assert log.sent(0)[1] == log.octets - 23 * octets
        assert log.sent(0xFFFF)[1] == log.octets - 24 * octets
        assert log.sent(23)[1] == log.octets
        assert log.sent(24) is None or log.sent(24)[1] < log.octets - 60 * octets
    assert wire[0] == wire[1]


# ---- Sockets ----


@pytest.mark.parametrize("gso", [True, False], ids=["gso", "single"])
@pytest.mark.parametrize("family", LOOPBACK, ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("profile", POLICIES)
def test_what_is_received_is_what_the_reference_protects(
    form: Any, profile: ProfileName, family: int, gso: bool
) -> None:
    @given(payload_lists.filter(bool), st.booleans(), st.sampled_from([0, NTP]))
    def check(payloads: list[bytes], marker: bool, ntp: int) -> None:
        lane.aim(ends.destination(family))
        expected = reference.protect(payloads, 1000, marker, ntp)
        assert way_out.send(lane, group(payloads), 1000, marker, ntp)
        assert ends.received(family) == expected
        for name in ("index", "packets", "octets"):
            assert getattr(lane, name) == getattr(reference, name)
        assert (log.sequence, log.octets) == (reference_log.sequence, reference_log.octets)
        assert way_out.packets == lane.packets

    with sockets() as ends:
        way_out = ends.egress(form, gso)
        log, reference_log = form.TransportLog(), egress_python.TransportLog()
        lane = lane_of(form, index=65_530, extensions=ALL, profile=profile, log=log)
        reference = lane_of(egress_python, index=65_530, extensions=ALL, profile=profile, log=reference_log)
        check()
        assert way_out.refused == 0


@pytest.mark.parametrize(
    ("family", "local"), [(socket.AF_INET, "127.0.0.7"), (socket.AF_INET, ""), (socket.AF_INET6, "::1")]
)
@pytest.mark.parametrize("gso", [True, False], ids=["gso", "single"])
def test_packets_leave_from_the_local_address(
    form: Any, ends: Ends, family: int, local: str, gso: bool
) -> None:
    lane = lane_of(form)
    lane.aim(ends.destination(family, local))
    assert ends.egress(form, gso).send(lane, ((b"a", b"b"), (b"c",)), 0, True, 0)
    for _ in range(3):
        assert ends.receivers[family].recvfrom(2000)[1][0] == (local or "127.0.0.1")


def test_marker_is_on_the_last_packet_of_the_last_run(form: Any, ends: Ends) -> None:
    lane = lane_of(form)
    lane.aim(ends.destination())
    assert ends.egress(form, True).send(lane, ((b"a", b"b"), (b"ccc", b"d")), 0, True, 0)
    assert [packet[1] >> 7 for packet in ends.received()] == [0, 0, 0, 1]


def test_nothing_to_send_is_sent(form: Any, ends: Ends) -> None:
    lane = lane_of(form)
    way_out = ends.egress(form, True)
    assert way_out.send(lane, (), 0, True, 0) is True
    assert way_out.send_many([], ((b"a",),), 0, True, 0) == []
    assert lane.protect([], 0, True, 0) == []
    assert (lane.index, way_out.packets, way_out.refused) == (0, 0, 0)


def test_the_longest_run_is_longer_than_a_train(form: Any, ends: Ends) -> None:
    """64 packets of the largest size are more than 65,535 octets: they go one by one."""
    lane = lane_of(form, extensions=ALL)
    lane.aim(ends.destination())
    way_out = ends.egress(form, True)
    assert way_out.send(lane, ((bytes(MAX_PAYLOAD),) * MAX_RUN,), 0, True, NTP)
    assert [len(packet) for packet in ends.received()] == [MAX_PAYLOAD + 12 + 20 + 16] * MAX_RUN
    assert way_out.packets == lane.packets == MAX_RUN


def test_a_socket_that_takes_no_trains_takes_packets(form: Any, ends: Ends) -> None:
    so_no_check = 11
    ends.senders[socket.AF_INET].setsockopt(socket.SOL_SOCKET, so_no_check, 1)
    lane = lane_of(form)
    lane.aim(ends.destination())
    way_out = ends.egress(form, True)
    assert way_out.send(lane, ((b"aa", b"bb", b"c"),), 0, True, 0)
    assert len(ends.received()) == 3
    assert (way_out.packets, way_out.refused) == (3, 0)


# ---- Refused runs ----

TWO_RUNS: Runs = ((b"aa", b"b"), (b"c",))
# Without SO_BROADCAST the kernel answers EACCES, whatever the network is.
BROADCAST = Destination("255.255.255.255", 9, "")


@pytest.mark.parametrize("gso", [True, False], ids=["gso", "single"])
def test_a_refused_run_uses_up_its_indexes_and_nothing_else(form: Any, ends: Ends, gso: bool) -> None:
    log = form.TransportLog()
    lane = lane_of(form, index=10, extensions=ALL, log=log)
    lane.aim(BROADCAST)
    way_out = ends.egress(form, gso)
    assert way_out.send(lane, TWO_RUNS, 0, True, NTP) is False
    assert lane.index == 12  # the second run was not tried
    assert (lane.packets, lane.octets, log.sequence, log.octets) == (0, 0, 0, 0)
    assert (way_out.packets, way_out.refused) == (0, 1)
    lane.aim(ends.destination())
    assert way_out.send(lane, TWO_RUNS, 0, True, NTP) is True
    assert [int.from_bytes(packet[2:4], "big") for packet in ends.received()] == [12, 13, 14]
    assert log.sequence == 3


def test_a_refused_viewer_harms_no_other(form: Any, ends: Ends) -> None:
    lanes = [lane_of(form) for _ in range(6)]
    for position, lane in enumerate(lanes):
        if position != 3:  # never aimed
            lane.aim(BROADCAST if position in (0, 5) else ends.destination())
    way_out = ends.egress(form, True)
    assert way_out.send_many(lanes, TWO_RUNS, 0, True, 0) == [0, 3, 5]
    assert [lane.packets for lane in lanes] == [0, 3, 3, 0, 3, 0]
    assert [lane.index for lane in lanes] == [2, 3, 3, 2, 3, 2]
    assert len(ends.received()) == way_out.packets == 9
    assert way_out.refused == 3


def test_no_socket_of_the_family(form: Any, ends: Ends) -> None:
    way_out = form.Egress(-1, ends.senders[socket.AF_INET6].fileno(), True)
    lane = lane_of(form)
    lane.aim(ends.destination())
    assert way_out.send(lane, TWO_RUNS, 0, True, 0) is False
    lane.aim(ends.destination(socket.AF_INET6))
    assert way_out.send(lane, TWO_RUNS, 0, True, 0) is True
    assert (lane.index, lane.packets, way_out.refused) == (5, 3, 1)


@pytest.mark.parametrize("gso", [True, False], ids=["gso", "single"])
def test_a_closed_socket_refuses(form: Any, ends: Ends, gso: bool) -> None:
    way_out = ends.egress(form, gso)
    lane = lane_of(form)
    lane.aim(ends.destination())
    ends.senders[socket.AF_INET].close()
    assert way_out.send(lane, TWO_RUNS, 0, True, 0) is False
    assert (lane.index, way_out.refused) == (2, 1)


def test_the_sockets_stay_the_callers(form: Any, ends: Ends) -> None:
    way_out = ends.egress(form, True)
    del way_out
    ends.senders[socket.AF_INET].sendto(b"still open", ends.receivers[socket.AF_INET].getsockname())
    assert ends.received() == [b"still open"]


def test_not_a_socket(form: Any) -> None:
    with Path(os.devnull).open() as file, pytest.raises(OSError):
        form.Egress(file.fileno(), -1, True)
    with pytest.raises(OSError):
        form.Egress(1 << 20, -1, True)


# ---- Repeated packets ----


def test_a_repeated_packet_is_the_same(form: Any, ends: Ends) -> None:
    lane = lane_of(form, index=65_535, extensions=Extensions(capture_time=1, playout_delay=2))
    lane.aim(ends.destination())
    assert ends.egress(form, True).send(lane, ((b"aa", b"bb"), (b"c",)), 9, True, NTP)
    first, second, third = ends.received()
    assert lane.repeat(b"aa", 65_535, 9, False, NTP) == first
    assert lane.repeat(b"bb", 65_536, 9, False, NTP) == second
    assert lane.repeat(b"c", 65_537, 9, True, NTP) == third
    assert (lane.index, lane.packets, lane.octets) == (65_538, 3, 5)


def test_what_cannot_be_repeated(form: Any) -> None:
    lane = lane_of(form, index=10)
    lane.protect([b"a", b"b"], 0, False, 0)
    for index in (0, 9, 12, INDEX_END):
        with pytest.raises(ValueError, match="index"):
            lane.repeat(b"a", index, 0, False, 0)
    lane.payload_type, lane.timestamp_offset = PAYLOAD_TYPE, OFFSET  # no change
    lane.repeat(b"b", 11, 0, False, 0)
    # Another header with the same index would use an AES-GCM nonce twice.
    lane.payload_type = 96
    with pytest.raises(ValueError, match="index"):
        lane.repeat(b"b", 11, 0, False, 0)
    lane.protect([b"c"], 0, False, 0)
    lane.repeat(b"c", 12, 0, False, 0)
    lane.timestamp_offset = 1
    with pytest.raises(ValueError, match="index"):
        lane.repeat(b"c", 12, 0, False, 0)
    numbered = lane_of(form, extensions=Extensions(transport_sequence=1))
    numbered.protect([b"a"], 0, False, 0)
    with pytest.raises(ValueError, match="transport-wide"):
        numbered.repeat(b"a", 0, 0, False, 0)


# ---- Transport log ----


@given(st.lists(st.tuples(st.lists(st.integers(0, 90), min_size=1, max_size=70), st.booleans()), max_size=12))
def test_log_knows_each_packet(units: list[tuple[list[int], bool]]) -> None:
    for form in FORMS.values():
        log = form.TransportLog()
        numbered, plain = (lane_of(form, extensions=ids, log=log) for ids in (ALL, NONE))
        octets = 0
        expected: list[tuple[int, int, int]] = []
        for sizes, with_sequence in units:
            before = time.monotonic_ns()
            for packet in (numbered if with_sequence else plain).protect(
                [bytes(n) for n in sizes], 0, True, 0
            ):
                octets += len(packet)
                if with_sequence:
                    expected.append((before, octets, 0))
            expected = [(low, known, high or time.monotonic_ns()) for low, known, high in expected]
        assert (log.sequence, log.octets) == (len(expected), octets)
        for sequence, (low, known, high) in enumerate(expected):
            left, at = log.sent(sequence)
            assert low <= left <= high
            assert at == known
        assert log.sent(len(expected)) is None
        assert log.sent(0xFFFF) is None


def test_log_forgets_the_oldest_runs(form: Any, ends: Ends) -> None:
    log = form.TransportLog()
    lane = lane_of(form, extensions=ALL, log=log)
    lane.aim(ends.destination())
    way_out = ends.egress(form, True)
    for _ in range(LOG_RUNS + 100):
        assert way_out.send(lane, ((b"aa", b"b"),), 0, True, 0)
    ends.received()
    assert log.sequence == 2 * (LOG_RUNS + 100)
    assert log.sent(2 * 100 - 1) is None
    assert log.sent(2 * 100) is not None
    times = [log.sent(sequence)[0] for sequence in range(200, log.sequence)]
    assert times == sorted(times)
    size = 12 + 8 + 16
    assert [log.sent(200 + n)[1] - log.sent(200)[1] for n in range(4)] == [
        0,
        size + 1,
        2 * size + 3,
        3 * size + 4,
    ]


def test_log_of_a_long_life(form: Any) -> None:
    """Far more octets and packets than the ring's fields hold."""
    log = form.TransportLog()
    lane = lane_of(form, extensions=ALL, log=log)
    runs = 60 if form is egress_python else 62_000  # 62,000 * 64 * 1536 octets are more than 2**32
    payloads = [bytes(MAX_PAYLOAD)] * MAX_RUN
    for _ in range(runs):
        lane.protect(payloads, 0, False, 0)
    packets = runs * MAX_RUN
    assert log.octets == packets * (MAX_PAYLOAD + 12 + 8 + 16)
    assert log.sent((packets - 1000) & 0xFFFF)[1] == (packets - 999) * (MAX_PAYLOAD + 12 + 8 + 16)


# ---- Misuse ----


class NoWholeNumber:
    pass


def misuses(form: Any, ends: Ends) -> dict[str, Any]:
    log = form.TransportLog()
    keys = keys_of(GCM)
    lane = lane_of(form, log=log)
    numbered = lane_of(form, extensions=ALL, log=log)
    last = lane_of(form, index=INDEX_END - 2, log=log)
    for each in (lane, numbered, last):
        each.aim(ends.destination())
    way_out = ends.egress(form, True)

    def assign(name: str, value: object) -> None:
        setattr(lane, name, value)

    def new(**changes: Any) -> None:
        arguments = {
            "keys": keys,
            "ssrc": SSRC,
            "payload_type": 1,
            "index": 0,
            "timestamp_offset": 0,
            "extensions": NONE,
            "log": log,
        }
        form.Lane(**arguments | changes)

    def sending(runs: Any, timestamp: Any = 0, ntp: Any = 0, to: Any = lane) -> Any:
        return lambda: way_out.send(to, runs, timestamp, True, ntp)

    one: Runs = ((b"a",),)
    return {
        "ssrc": lambda: new(ssrc=1 << 32),
        "negative ssrc": lambda: new(ssrc=-1),
        "text for ssrc": lambda: new(ssrc="1"),
        "payload type": lambda: new(payload_type=128),
        "index": lambda: new(index=INDEX_END + 1),
        "fraction": lambda: new(index=1.0),
        "offset": lambda: new(timestamp_offset=None),
        "keys": lambda: new(keys=b"k"),
        "extensions": lambda: new(extensions=(1, 2, 3)),
        "log": lambda: new(log=None),
        "set ssrc": lambda: assign("ssrc", 1),
        "set index": lambda: assign("index", 1),
        "set packets": lambda: assign("packets", 1),
        "set other": lambda: assign("other", 1),
        "set payload type": lambda: assign("payload_type", 128),
        "set payload type None": lambda: assign("payload_type", None),
        "set offset": lambda: assign("timestamp_offset", 1.5),
        "delete payload type": lambda: delattr(lane, "payload_type"),
        "aim at a name": lambda: lane.aim(Destination("localhost", 1, "")),
        "aim at nothing": lambda: lane.aim(Destination("", 1, "")),
        "aim at a scope": lambda: lane.aim(Destination("fe80::1%lo", 1, "")),
        "aim at zeros": lambda: lane.aim(Destination("127.0.0.1\0", 1, "")),
        "aim at half a character": lambda: lane.aim(Destination("\ud800", 1, "")),
        "aim at octets": lambda: lane.aim(Destination(b"127.0.0.1", 1, "")),  # type: ignore[arg-type]
        "port": lambda: lane.aim(Destination("127.0.0.1", 65_536, "")),
        "port text": lambda: lane.aim(Destination("127.0.0.1", "1", "")),  # type: ignore[arg-type]
        "two families": lambda: lane.aim(Destination("127.0.0.1", 1, "::1")),
        "local name": lambda: lane.aim(Destination("127.0.0.1", 1, "here")),
        "aim at a pair": lambda: lane.aim(("127.0.0.1", 1)),
        "large payload": sending(((bytes(MAX_PAYLOAD + 1),),)),
        "empty run": sending(((b"a",), ())),
        "long run": sending(((b"a",) * (MAX_RUN + 1),)),
        "larger last": sending(((b"a", b"bb"),)),
        "smaller middle": sending(((b"aa", b"b", b"cc"),)),
        "two smaller": sending(((b"aa", b"b", b"c"),)),
        "list of runs": sending([(b"a",)]),
        "list for a run": sending(([b"a"],)),
        "flat": sending((b"a",)),
        "text": sending((("a",),)),
        "writable payload": sending(((bytearray(b"a"),),)),
        "timestamp": sending(one, timestamp=0.5),
        "no timestamp": sending(one, timestamp=NoWholeNumber()),
        "ntp": sending(one, ntp=1 << 64),
        "negative ntp": sending(one, ntp=-1),
        "no lane": sending(one, to=None),
        "lane for lanes": lambda: way_out.send_many(lane, one, 0, True, 0),
        "no lane among lanes": lambda: way_out.send_many([lane, None], one, 0, True, 0),
        "too few arguments": lambda: way_out.send(lane, one, 0, True),
        "index used up": sending(((b"a", b"b"), (b"c",)), to=last),
        "index of one used up": lambda: way_out.send_many([lane, last], ((b"a",) * 3,), 0, True, 0),
        "index used up by protect": lambda: last.protect([b"a"] * 3, 0, False, 0),
        "protect a number": lambda: lane.protect(1, 0, False, 0),
        "protect octets": lambda: lane.protect(b"abc", 0, False, 0),
        "protect a large one": lambda: lane.protect([b"", bytes(MAX_PAYLOAD + 1)], 0, False, 0),
        "protect ntp": lambda: lane.protect([b"a"], 0, False, 1 << 64),
        "repeat a large one": lambda: lane.repeat(bytes(MAX_PAYLOAD + 1), 0, 0, False, 0),
        "repeat nothing sent": lambda: lane.repeat(b"a", 0, 0, False, 0),
        "repeat negative": lambda: lane.repeat(b"a", -1, 0, False, 0),
        "repeat far": lambda: lane.repeat(b"a", 1 << 70, 0, False, 0),
        "repeat numbered": lambda: numbered.repeat(b"a", 0, 0, False, 0),
        "repeat text": lambda: lane.repeat("a", 0, 0, False, 0),
        "sequence": lambda: log.sent(0x10000),
        "negative sequence": lambda: log.sent(-1),
        "sequence text": lambda: log.sent("1"),
        "log with argument": lambda: form.TransportLog(1),
        "egress without sockets": lambda: form.Egress(),
        "egress of text": lambda: form.Egress("3", -1, True),
    }


def test_misuse_has_the_same_error_in_both_forms(ends: Ends) -> None:
    forms = {name: misuses(form, ends) for name, form in FORMS.items()}
    for name, reference in forms["python"].items():
        with pytest.raises(Exception) as expected:
            reference()
        with pytest.raises(Exception) as answered:
            forms["kernel"][name]()
        assert answered.type is expected.type, name
        if expected.type in (ValueError, OverflowError):
            assert str(answered.value) == str(expected.value), name
        else:
            assert expected.type in (TypeError, AttributeError), name
    assert ends.received() == []


def test_the_index_is_used_to_its_end(form: Any, ends: Ends) -> None:
    lane = lane_of(form, index=INDEX_END - 3)
    lane.aim(ends.destination())
    way_out = ends.egress(form, True)
    assert way_out.send(lane, ((b"a", b"b"), (b"c",)), 0, True, 0)
    assert lane.index == INDEX_END
    assert [int.from_bytes(packet[2:4], "big") for packet in ends.received()] == [0xFFFD, 0xFFFE, 0xFFFF]
    with pytest.raises(OverflowError):
        way_out.send(lane, ((b"a",),), 0, True, 0)
    assert lane_of(form, index=INDEX_END).protect([], 0, False, 0) == []
    # One lane twice passes the look before sending; the second time it is refused.
    lane = lane_of(form, index=INDEX_END - 3)
    lane.aim(ends.destination())
    assert way_out.send_many([lane, lane], ((b"a", b"b"),), 0, True, 0) == [1]
    assert lane.index == INDEX_END


def test_calls_hold_nothing_afterwards(form: Any, ends: Ends) -> None:
    """References, also on the ways of errors."""
    payload, number = bytes(bytearray(b"payload")), int("1000000")
    keys, log, destination = keys_of(GCM), form.TransportLog(), ends.destination()
    lane = form.Lane(keys, SSRC, PAYLOAD_TYPE, number, number, ALL, log)
    lane.aim(destination)
    way_out = ends.egress(form, True)
    runs = ((payload,) * 3,)
    held = (payload, number, keys, log, destination, lane, runs, ALL, None)

    def use() -> None:
        lanes = [lane, lane]
        way_out.send(lane, runs, number, True, number)
        way_out.send_many(lanes, runs, number, True, number)
        lane.protect([payload], number, True, 0)
        log.sent(0)
        form.Lane(keys, SSRC, PAYLOAD_TYPE, number, number, ALL, log)
        for misuse in misuses(form, ends).values():
            with contextlib.suppress(Exception):
                misuse()

    use()
    ends.received()
    gc.collect()  # what earlier tests left in cycles holds some of it, too
    before = [sys.getrefcount(item) for item in held]
    for _ in range(20):
        use()
    ends.received()
    gc.collect()
    after = [sys.getrefcount(item) for item in held]
    assert after[:-1] == before[:-1]
    assert abs(after[-1] - before[-1]) < 20


def test_threads_share_lanes_of_the_kernel_form(ends: Ends) -> None:
    """It sends without the GIL; still no index is used twice."""
    form: Any = FORMS["kernel"]
    log = form.TransportLog()
    lanes = [lane_of(form, extensions=ALL, log=log) for _ in range(4)]
    way_out = ends.egress(form, True)
    seen: list[list[bytes]] = [[] for _ in lanes]

    def work() -> None:
        for turn in range(300):
            for position, lane in enumerate(lanes):
                lane.aim(ends.destination())
                seen[position] += lane.protect([b"x" * 100] * 3, turn, True, NTP)
                lane.timestamp_offset += 1
            way_out.send_many(lanes, ((b"y" * 1100,) * 8,), turn, True, NTP)
            log.sent(turn)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for lane, packets in zip(lanes, seen, strict=True):
        sequences = [packet[2:4] for packet in packets]
        assert len(set(sequences)) == len(sequences) == 2700
        assert lane.index == 2700 + 900 * 8
    assert log.sequence == sum(lane.packets for lane in lanes) == 4 * (2700 + 7200)


# ---- The choice ----


def form_chosen(before: str = "", **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name != "CCTV3_EGRESS"}
    code = f"import sys; {before}\nfrom fanout.egress import FORM, Lane; print(FORM, Lane.__module__)"
    return subprocess.run(
        [sys.executable, "-c", code], env=clean | environment, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_kernel_form_is_taken_unless_python_is_asked_for_or_it_is_not_built() -> None:
    assert form_chosen() == "kernel fanout._egress"
    assert form_chosen(CCTV3_EGRESS="python") == "python fanout.egress_python"
    assert form_chosen("sys.modules['fanout._egress'] = None") == "python fanout.egress_python"


def test_this_kernel_takes_trains() -> None:
    assert egress.segmentation_offload() is True
