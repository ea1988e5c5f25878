"""Every exchange of tests/testdata/rtsp with RtspSession in the client's place; every policy has one."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.urls import parse_camera_url
from ingest.rtsp.messages import RtspError
from ingest.rtsp.quirks import ALL, OWN_TEST
from ingest.rtsp.session import Playing, RtcpData, RtpData, RtspSession, SessionOptions

from .exchanges import FOLDER, load, replay

NAMES = sorted(path.stem for path in FOLDER.glob("*.txt"))


@pytest.mark.parametrize("piece_bytes", [None, 1, 7])
@pytest.mark.parametrize("name", NAMES)
def test_exchange(name, piece_bytes):
    exchange = load(FOLDER / f"{name}.txt")
    facts = exchange.facts
    outcome = replay(exchange, piece_bytes)
    if error := facts.get("error"):
        kind, _, text = error.partition(": ")
        assert type(outcome.error).__name__ == kind
        assert text in str(outcome.error)
        assert "made-up" not in str(outcome.error)
    else:
        assert outcome.error is None
    assert " ".join(track.encoding for track in outcome.playing) == facts.get("tracks", "")
    assert outcome.rtp_packets == int(facts.get("rtp", 0))
    assert outcome.session.quirks == tuple(facts["quirks"].split(", ") if "quirks" in facts else ())
    assert facts.get("notes", "") in " ".join(outcome.session.notes)


def test_every_policy_has_an_exchange_and_a_source():
    assert {quirk.name for quirk in ALL} <= set(NAMES)
    assert len({quirk.name for quirk in ALL}) == len(ALL)
    for quirk in ALL:
        assert quirk.source.startswith("https://github.com/") or quirk.source == OWN_TEST


def test_every_exchange_is_in_the_readme():
    listed = (FOLDER / "README.md").read_text()
    assert [name for name in NAMES if f"`{name}`" not in listed] == []


SPOILERS = [b"\r\n", b"$", b";", b",", b"=", b":", b" ", b"401", b"9" * 12]


def answers_of(name):
    return [what for kind, what in load(FOLDER / f"{name}.txt").steps if kind == "receive"]


CHANGES = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 30),
        st.one_of(
            st.binary(max_size=8),
            st.sampled_from([b"\r\n", b"$", b";", b",", b"=", b":", b" ", b"401", b"9" * 12]),
        ),
    ),
    max_size=4,
)


@settings(max_examples=300)
@given(
    st.sampled_from(NAMES),
    CHANGES,
    st.sampled_from([None, 1, 50]),
    st.sampled_from(["tcp", "udp", "multicast"]),
)
def test_fuzz_spoilt_exchanges_raise_only_the_documented_error(name, changes, piece_bytes, transport):
    answers = answers_of(name)
    for where, removed, added in changes:
        number = int(where * len(answers))
        text = answers[number]
        at = int((where * len(answers) % 1) * len(text))
        answers[number] = text[:at] + added + text[at + removed :]
    options = SessionOptions(transport, client_ports=((5000, 5001), (5002, 5003)))
    session = RtspSession(parse_camera_url("rtsp://admin:made-up@192.0.2.10/live"), b"seed", options)
    playing = False
    with contextlib.suppress(RtspError):
        session.start(0)
        for now, answer in enumerate(answers):
            size = piece_bytes or len(answer) or 1
            for begin in range(0, len(answer), size):
                session.feed(answer[begin : begin + size], now)
                for event in session.events():
                    playing = playing or isinstance(event, Playing)
                    assert playing or not isinstance(event, RtpData | RtcpData)
            session.tick(now)
            session.data_to_send()
        session.teardown(99)
        session.eof()
