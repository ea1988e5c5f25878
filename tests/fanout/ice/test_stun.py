"""Binding requests made by aioice, read by us; our answers read by aioice (RFC 8489)."""

import pytest
from aioice import stun as reference
from hypothesis import given
from hypothesis import strategies as st

from fanout.ice import stun

PASSWORD = b"s3cret-password-of-ice"


def request(**extra: object) -> bytes:
    attributes = {"USERNAME": "local:remote", "PRIORITY": 12345, **extra}
    message = reference.Message(reference.Method.BINDING, reference.Class.REQUEST, attributes=attributes)
    message.add_message_integrity(PASSWORD)
    return bytes(message)


def test_reads_what_an_independent_agent_sends() -> None:
    parsed = stun.parse_binding_request(request(**{"USE-CANDIDATE": None, "ICE-CONTROLLING": 7}))
    assert (parsed.local_ufrag, parsed.remote_ufrag) == ("local", "remote")
    assert parsed.priority == 12345
    assert parsed.use_candidate and not parsed.peer_controlled and not parsed.unknown
    assert stun.verify(parsed, PASSWORD)
    assert not stun.verify(parsed, b"another")


def test_the_other_controlled_agent_is_seen() -> None:
    assert stun.parse_binding_request(request(**{"ICE-CONTROLLED": 7})).peer_controlled


def test_unknown_comprehension_required_attribute_is_listed() -> None:
    data = request()
    body = data[20:] + b"\x7f\xff\x00\x00"
    # Put it in front: what follows MESSAGE-INTEGRITY does not count.
    inner = b"\x7f\xff\x00\x01x\0\0\0" + data[20:-8]
    message = data[:2] + len(inner).to_bytes(2, "big") + data[4:20] + inner
    assert stun.parse_binding_request(message).unknown == (0x7FFF,)
    assert len(body)


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::5"])
def test_success_response_is_read_by_an_independent_agent(host: str) -> None:
    parsed = stun.parse_binding_request(request())
    answer = reference.parse_message(stun.success_response(parsed, host, 4711, PASSWORD))
    assert answer.check_message_integrity(PASSWORD)
    assert answer.message_class == reference.Class.RESPONSE
    assert answer.transaction_id == parsed.transaction_id
    assert answer.attributes["XOR-MAPPED-ADDRESS"] == (host, 4711)


def test_error_response_is_read_by_an_independent_agent() -> None:
    parsed = stun.parse_binding_request(request())
    answer = reference.parse_message(stun.error_response(parsed, 487, "Role Conflict", PASSWORD))
    assert answer.check_message_integrity(PASSWORD)
    assert answer.attributes["ERROR-CODE"] == (487, "Role Conflict")


BAD = {
    "empty": b"",
    "short": b"\0\1\0\0",
    "no cookie": b"\0\1\0\0" + bytes(16),
    "length": request()[:-4],
    "response": b"\1\1" + request()[2:],
    "no attributes": request()[:2] + b"\0\0" + request()[4:20],
    # aioice 0.13 raises struct.error on this one
    "priority of one octet": b"\0\1\0\x08\x21\x12\xa4\x42" + bytes(12) + b"\0\x24\0\1\0\0\0\0",
    "attribute past the end": b"\0\1\0\x08\x21\x12\xa4\x42" + bytes(12) + b"\0\x06\0\x40\0\0\0\0",
    "fingerprint": request()[:-1] + b"\0",
    "hundreds of attributes": b"\0\1\x05\0\x21\x12\xa4\x42" + bytes(12) + b"\x80\1\0\0" * 320,
}


@pytest.mark.parametrize("name", BAD)
def test_malformed_is_refused(name: str) -> None:
    with pytest.raises(stun.StunError):
        stun.parse_binding_request(BAD[name])


def test_whom_a_check_is_for_is_seen_without_parsing() -> None:
    assert stun.local_ufrag(request()) == "local"
    behind = b"\x80\x22\0\x01x\0\0\0" + request()[20:]
    message = request()[:2] + len(behind).to_bytes(2, "big") + request()[4:20] + behind
    assert stun.local_ufrag(message) == "local"
    assert stun.local_ufrag(request(USERNAME="no colon")) is None


@pytest.mark.parametrize("name", sorted(BAD.keys() - {"length", "fingerprint"}))
def test_what_is_no_check_is_for_nobody(name: str) -> None:
    assert stun.local_ufrag(BAD[name]) is None


@given(st.binary(max_size=200))
def test_whom_a_check_is_for_agrees_with_the_parser(data: bytes) -> None:
    for candidate in (data, request()[:20] + data, request()[:2] + data + request()[4:], request() + data):
        seen = stun.local_ufrag(candidate)
        try:
            parsed = stun.parse_binding_request(candidate)
        except stun.StunError:
            continue
        assert seen == parsed.local_ufrag


@given(st.binary(max_size=200))
def test_fuzz_octets(data: bytes) -> None:
    for candidate in (
        data,
        request()[:20] + data,
        b"\0\1" + len(data).to_bytes(2, "big") + request()[4:20] + data,
    ):
        try:
            stun.parse_binding_request(candidate)
        except stun.StunError:
            continue


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6))
def test_fuzz_changed_request(changes: list[tuple[int, int]]) -> None:
    data = bytearray(request(**{"USE-CANDIDATE": None}))
    for position, value in changes:
        data[position % len(data)] = value
    try:
        parsed = stun.parse_binding_request(bytes(data))
    except stun.StunError:
        return
    if bytes(data[:-8]) != request(**{"USE-CANDIDATE": None})[:-8]:
        stun.verify(parsed, PASSWORD)
