"""The WebSocket's messages: whatever comes, a command or a Problem."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signaling_support import FRAGMENT, OFFER

from signaling import commands, fragment
from signaling.commands import (
    Attach,
    Candidate,
    Close,
    Diagnose,
    DiagnoseCamera,
    Envelope,
    Offer,
    Select,
    Time,
)
from signaling.problems import Problem

CANDIDATE = "candidate:1 1 udp 2130706431 192.0.2.1 9 typ host"


@pytest.mark.parametrize(
    ("content", "command"),
    [
        ({"type": "offer", "camera": "front", "sdp": OFFER}, Offer("front", OFFER)),
        ({"type": "offer", "camera": "front", "sdp": OFFER, "replaces": None}, Offer("front", OFFER)),
        ({"type": "offer", "camera": "front", "sdp": OFFER, "replaces": "s"}, Offer("front", OFFER, "s")),
        (
            {"type": "offer", "camera": "front", "sdp": OFFER, "quality": "sub"},
            Offer("front", OFFER, None, "sub"),
        ),
        ({"type": "offer", "camera": "front", "sdp": OFFER, "quality": None}, Offer("front", OFFER)),
        ({"type": "attach", "session": "s"}, Attach("s")),
        ({"type": "diagnose", "session": "s"}, Diagnose("s")),
        ({"type": "diagnose", "session": "s", "camera": "front"}, Diagnose("s")),
        ({"type": "diagnose", "session": None, "camera": "front"}, DiagnoseCamera("front")),
        ({"type": "time"}, Time()),
        ({"type": "close", "session": "s"}, Close("s")),
        ({"type": "select", "session": "s", "quality": "keyframes"}, Select("s", "keyframes")),
        ({"type": "candidate", "session": "s", "candidate": FRAGMENT}, Candidate("s", FRAGMENT)),
        (
            {
                "type": "candidate",
                "session": "s",
                "candidate": {"candidate": CANDIDATE, "sdpMid": "0", "usernameFragment": "vwr1"},
            },
            Candidate(
                "s", f"m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=ice-ufrag:vwr1\r\na={CANDIDATE}\r\n"
            ),
        ),
        (
            {"type": "candidate", "session": "s", "candidate": {"candidate": ""}},
            Candidate("s", "m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=end-of-candidates\r\n"),
        ),
    ],
)
def test_commands(content: dict[str, object], command: commands.Command) -> None:
    assert commands.parse(content) == command


@pytest.mark.parametrize(
    "candidate",
    [
        {"candidate": CANDIDATE + "\r\na=ice-ufrag:evil"},
        {"candidate": "a=fingerprint"},
        {"candidate": CANDIDATE, "sdpMid": "0\r\na=x"},
        {"candidate": CANDIDATE, "sdpMid": 0},
        {"candidate": CANDIDATE, "usernameFragment": "x\r\na=y:zzzz"},
        {"candidate": "candidate:" + "9" * 2000},
        {"candidate": CANDIDATE + " \udc80"},
        {},
        7,
    ],
)
def test_candidates_that_are_none(candidate: object) -> None:
    with pytest.raises(Problem) as raised:
        commands.parse({"type": "candidate", "session": "s", "candidate": candidate})
    assert raised.value.status == 400


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", 400),
        ("[]", 400),
        ("nonsense", 400),
        ("[" * 60_000, 400),
        ('{"type":"offer","camera":"front","sdp":"v=0\\r\\n\\ud800"}', 400),
        ('{"type":"offer","camera":["front"],"sdp":"v=0"}', 400),
        (json.dumps({"type": "offer", "camera": "front", "sdp": "v=0\n" + "é" * 40_000}), 413),
        (json.dumps({"type": "offer", "camera": "front", "sdp": "v=0\n" + "a" * (1 << 20)}), 413),
        ('{"type":"offer","camera":"front"}', 400),
        ('{"type":"offer","camera":"front","sdp":"v=0\\r\\n","replaces":7}', 400),
        ('{"type":"offer","camera":"front","sdp":"v=0\\r\\n","quality":"best"}', 400),
        ('{"type":"offer","camera":"front","sdp":"v=0\\r\\n","quality":["sub"]}', 400),
        ('{"type":"close"}', 400),
        ('{"type":"diagnose"}', 400),
        ('{"type":"diagnose","session":7,"camera":"front"}', 400),
        ('{"type":"diagnose","camera":["front"]}', 400),
        ('{"type":"select","session":"s"}', 400),
        ('{"type":"select","session":"s","quality":"best"}', 400),
        ('{"type":"select","session":"s","quality":["main"]}', 400),
        ('{"type":"shutdown"}', 400),
    ],
)
def test_malformed_messages(text: str, status: int) -> None:
    with pytest.raises(Problem) as raised:
        commands.parse(commands.parse_object(text))
    assert raised.value.status == status


@pytest.mark.parametrize("request_id", [True, 1.5, [], {}, None, "x" * 65, 1 << 60])
def test_ids_that_are_not_given_back(request_id: object) -> None:
    assert commands.envelope({"id": request_id, "session": 5}) == Envelope()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["type", "id", "session", "camera", "sdp", "candidate", "quality", "replaces"])
TYPES = st.sampled_from(["offer", "attach", "candidate", "select", "close", "diagnose", "time"])


@given(st.dictionaries(KEYS, JSON), TYPES | JSON)
def test_any_object_is_a_command_or_a_problem(content: dict[str, object], kind: object) -> None:
    commands.envelope(content)
    try:
        command = commands.parse({**content, "type": kind})
    except Problem as problem:
        assert problem.status in (400, 413)
    else:
        assert isinstance(command, commands.Command)


@given(st.text(st.characters()))
def test_any_text_is_json_or_a_problem(text: str) -> None:
    try:
        commands.parse_object(text)
    except Problem as problem:
        assert problem.status in (400, 413)


@given(st.text(st.characters()), st.none() | st.text(st.characters()), st.none() | st.text(st.characters()))
def test_a_fragment_has_only_the_lines_meant(candidate: str, mid: str | None, ufrag: str | None) -> None:
    try:
        text = fragment.from_candidate(f"candidate:{candidate}", mid, ufrag)
    except Problem as problem:
        assert problem.status == 400
    else:
        assert len(text.splitlines()) == 3 + (ufrag is not None)
