"""Who is behind the proxies: only believed machines are believed."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from signaling.access.networks import (
    Client,
    Networks,
    client,
    forwarded,
    is_host,
    names_loopback,
    parse_address,
    parse_forwarded,
    unread,
)

TRUSTED = Networks(["127.0.0.1", "10.0.0.0/8", "fd00::/8"])


@pytest.mark.parametrize(
    ("peer", "headers", "seen"),
    [
        (
            "203.0.113.9",
            {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https"},
            Client("203.0.113.9"),
        ),
        ("203.0.113.9", {"Forwarded": "for=127.0.0.1"}, Client("203.0.113.9")),
        ("127.0.0.1", {}, Client("127.0.0.1")),
        ("::ffff:127.0.0.1", {"X-Forwarded-For": "198.51.100.1"}, Client("198.51.100.1")),
        # A client may have begun the list itself.
        ("10.1.1.1", {"X-Forwarded-For": "127.0.0.1, 198.51.100.1, 10.2.2.2"}, Client("198.51.100.1")),
        ("10.1.1.1", {"X-Forwarded-For": "1.2.3.4, rubbish, 10.2.2.2"}, Client("10.2.2.2")),
        ("10.1.1.1", {"X-Forwarded-For": "[2001:db8::1]:4711"}, Client("2001:db8::1")),
        ("10.1.1.1", {"X-Forwarded-For": "198.51.100.1:80"}, Client("198.51.100.1")),
        (
            "127.0.0.1",
            {
                "X-Forwarded-For": "198.51.100.1",
                "X-Forwarded-Proto": "https",
                "X-Forwarded-Host": "cams.example:8443",
                "X-Forwarded-Prefix": "/cameras/",
            },
            Client("198.51.100.1", "https", "cams.example:8443", "/cameras"),
        ),
        (
            "127.0.0.1",
            {"X-Forwarded-Host": "a b", "X-Forwarded-Proto": "gopher", "X-Forwarded-Prefix": "//evil"},
            Client("127.0.0.1"),
        ),
        (
            "127.0.0.1",
            {"Forwarded": 'for="[2001:db8::7]:99";proto=https;host="cams.example", for=10.3.3.3;proto=http'},
            Client("2001:db8::7", "https", "cams.example"),
        ),
        ("127.0.0.1", {"Forwarded": "for=unknown"}, Client("127.0.0.1")),
        ("127.0.0.1", {"Forwarded": 'for="198.51.100.1'}, Client("127.0.0.1")),
        ("127.0.0.1", {"Forwarded": "for=1.1.1.1;for=2.2.2.2"}, Client("127.0.0.1")),
    ],
)
def test_client(peer: str, headers: dict[str, str], seen: Client) -> None:
    assert client(peer, CIMultiDict(headers), TRUSTED) == seen


def test_a_line_of_its_own_below_the_clients() -> None:
    headers = CIMultiDict([("X-Forwarded-For", "192.0.2.66"), ("X-Forwarded-For", "198.51.100.1")])
    assert client("127.0.0.1", headers, TRUSTED).address == "198.51.100.1"
    twice = CIMultiDict([("Forwarded", "for=192.0.2.66"), ("Forwarded", "for=198.51.100.1")])
    assert client("127.0.0.1", twice, TRUSTED).address == "198.51.100.1"


@pytest.mark.parametrize(
    ("forwarded", "x_forwarded_for", "seen"),
    [
        # The proxy writes one of them, the client has sent the other; which is which nobody can see.
        ("for=192.0.2.66;host=evil.example", "198.51.100.1", Client("127.0.0.1")),
        ("for=198.51.100.1;host=evil.example", "198.51.100.1", Client("198.51.100.1")),
        ("rubbish", "198.51.100.1", Client("127.0.0.1")),
    ],
)
def test_both_kinds_of_headers(forwarded: str, x_forwarded_for: str, seen: Client) -> None:
    headers = CIMultiDict({"Forwarded": forwarded, "X-Forwarded-For": x_forwarded_for})
    assert client("127.0.0.1", headers, TRUSTED) == seen


@pytest.mark.parametrize(
    ("headers", "names"),
    [
        ({}, []),
        ({"X-Forwarded-For": "198.51.100.1", "X-Forwarded-Prefix": "/"}, []),
        ({"X-Forwarded-For": "unknown"}, []),
        ({"Forwarded": "for=_hidden;proto=https"}, []),
        ({"Forwarded": "for"}, ["Forwarded"]),
        ({"X-Forwarded-For": "me", "X-Forwarded-Proto": "h"}, ["X-Forwarded-For", "X-Forwarded-Proto"]),
        ({"X-Forwarded-Host": "a b", "X-Forwarded-Prefix": "x"}, ["X-Forwarded-Host", "X-Forwarded-Prefix"]),
    ],
)
def test_what_cannot_be_read(headers: dict[str, str], names: list[str]) -> None:
    sent = CIMultiDict(headers)
    assert unread(sent, client("127.0.0.1", sent, TRUSTED)) == names


@given(st.text(max_size=60) | st.text(alphabet="[]:.1a@/", max_size=20))
def test_any_host(text: str) -> None:
    if is_host(text):
        assert urlsplit(f"//{text}").netloc == text and urlsplit(f"//{text}").hostname


def test_networks() -> None:
    assert "10.255.0.1" in TRUSTED and "fd00::1" in TRUSTED and "fd00::1%eth0" in TRUSTED
    assert "11.0.0.1" not in TRUSTED and "" not in TRUSTED and "localhost" not in TRUSTED
    with pytest.raises(ValueError, match="does not appear"):
        Networks(["somewhere"])


@given(st.text(max_size=200) | st.text(alphabet='for=";,\\ [:]1.a', max_size=60))
def test_any_header_gives_an_address(value: str) -> None:
    parse_forwarded(value)
    for name in ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Prefix"):
        found = client("127.0.0.1", CIMultiDict({name: value}), TRUSTED)
        assert parse_address(found.address) is not None
        assert found.prefix == "" or found.prefix.startswith("/")
        assert not set(f"{found.host}{found.prefix}") & set("\r\n \"'<>\\")


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("localhost", True),
        ("LOCALHOST:8080", True),
        ("127.8.9.1:80", True),
        ("[::1]:80", True),
        ("[::ffff:127.0.0.1]", True),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("192.0.2.1", False),
        ("0.0.0.0", False),
    ],
)
def test_names_of_this_machine(host: str, names: bool) -> None:
    assert names_loopback(host) == names


def test_a_proxy_gives_itself_away() -> None:
    assert not forwarded(CIMultiDict({"Host": "a", "X-Forward": "b", "Via": "c"}))
    for name in ("forwarded", "X-Forwarded-For", "x-forwarded-HOST"):
        assert forwarded(CIMultiDict({name: ""}))
