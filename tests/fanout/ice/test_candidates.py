"""Candidates from browsers: what they write, what is passed over, and nothing that raises anything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ViewerError
from fanout.ice.candidates import MAX_FRAGMENT, MAX_REMOTE_CANDIDATES, parse_candidate, parse_fragment

CHROMIUM = (
    "candidate:842163049 1 udp 1677729535 203.0.113.9 46154 typ srflx raddr 0.0.0.0 rport 0 "
    "generation 0 ufrag sXP5 network-cost 999"
)
FIREFOX = "candidate:0 1 UDP 2122252543 8e2b5b3c-1a2b-4c3d-9e8f-001122334455.local 49203 typ host"


def test_what_browsers_write() -> None:
    chromium, firefox = parse_candidate(CHROMIUM), parse_candidate(FIREFOX)
    assert chromium is not None and firefox is not None
    assert (chromium.host, chromium.port, chromium.priority, chromium.type, chromium.transport) == (
        *("203.0.113.9", 46154, 1677729535, "srflx", "udp"),
    )
    assert (firefox.host, firefox.type) == ("8e2b5b3c-1a2b-4c3d-9e8f-001122334455.local", "host")


@pytest.mark.parametrize(
    ("written", "host"), [("2001:DB8:0::7", "2001:db8::7"), ("::ffff:192.0.2.1", "::ffff:c000:201")]
)
def test_addresses_are_normalized(written: str, host: str) -> None:
    candidate = parse_candidate(f"candidate:1 1 udp 1 {written} 9 typ host")
    assert candidate is not None and candidate.host == host


@pytest.mark.parametrize(
    "line",
    [
        "candidate:1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active",
        "candidate:1 2 udp 1 192.0.2.1 9 typ host",
        "candidate:1 1 udp 1 192.0.2.1 0 typ host",
        "candidate:1 1 udp 1 192.0.2.1 65536 typ host",
        "candidate:1 1 udp 0 192.0.2.1 9 typ host",
        "candidate:1 1 udp 2147483648 192.0.2.1 9 typ host",
        "candidate:1 1 udp 1 192.0.2.1 9 typ prflx",
        "candidate:1 1 udp 1 192.0.2.1 9 typ hostile",
        "candidate:1 1 udp 1 camera.example 9 typ host",
        "candidate:1 1 udp 1 0.0.0.0 9 typ host",
        "candidate:1 1 udp 1 239.255.255.250 1900 typ host",
        "candidate:1 1 udp 1 192.0.2.1 9 typ host " + "x" * 512,
        "candidate: 1 udp 1 192.0.2.1 9 typ host",
        "end-of-candidates",
        "",
    ],
)
def test_what_is_of_no_use(line: str) -> None:
    assert parse_candidate(line) is None


def test_a_fragment() -> None:
    fragment = (
        f"a=ice-ufrag:sXP5\r\na=ice-pwd:x\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na={CHROMIUM}\r\n"
        f"a={FIREFOX}\r\na=candidate:nonsense\r\na=end-of-candidates\r\n"
    )
    assert [candidate.type for candidate in parse_fragment(fragment, "sXP5")] == ["srflx", "host"]
    assert parse_fragment(fragment, "other") == []


def test_a_fragment_is_bounded() -> None:
    assert len(parse_fragment(f"a={FIREFOX}\r\n" * 100, "u")) == MAX_REMOTE_CANDIDATES
    with pytest.raises(ViewerError, match="characters"):
        parse_fragment("a" * (MAX_FRAGMENT + 1), "u")


@given(
    st.one_of(
        st.text(max_size=300),
        st.tuples(st.text(max_size=8), st.text(max_size=8), st.text(max_size=20), st.text(max_size=6)).map(
            lambda parts: "a=candidate:{} 1 udp {} {} {} typ host".format(*parts)
        ),
        st.from_regex(r"a=candidate:[a-z0-9]{1,4} 1 udp [0-9]{1,11} [0-9a-f:.]{1,20} [0-9]{1,6} typ host"),
    )
)
def test_any_text_is_read(text: str) -> None:
    for candidate in parse_fragment(text, "u"):
        assert 0 < candidate.port < 65_536
