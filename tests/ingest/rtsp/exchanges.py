"""Exchanges with cameras as text files (tests/testdata/rtsp), and RtspSession in the client's place."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from common.urls import parse_camera_url
from ingest.rtsp.messages import InterleavedFrame, RtspError, serialize_interleaved
from ingest.rtsp.parser import RtspParser
from ingest.rtsp.session import Playing, RtpData, RtspSession, SessionOptions, State

FOLDER = Path(__file__).parents[2] / "testdata" / "rtsp"


@dataclass
class Exchange:
    """One file: what is known of it, then what is sent, received and waited for."""

    facts: dict[str, str]
    steps: list[tuple[str, object]] = field(default_factory=list)


@dataclass
class Outcome:
    """What the session made of it."""

    session: RtspSession
    events: list = field(default_factory=list)
    error: RtspError | None = None

    @property
    def playing(self):
        return next((event.tracks for event in self.events if isinstance(event, Playing)), ())

    @property
    def rtp_packets(self):
        return sum(len(event.packets) for event in self.events if isinstance(event, RtpData))


def _octets(lines, ending):
    """Lines of the camera as octets (the README says how)."""
    data = bytearray()
    for line in lines:
        if frame := re.fullmatch(r"\$ (\d+) ([0-9a-f]*)", line):
            data += serialize_interleaved(InterleavedFrame(int(frame[1]), bytes.fromhex(frame[2])))
        elif raw := re.fullmatch(r"# ([0-9a-f]+)", line):
            data += bytes.fromhex(raw[1])
        else:
            data += line.encode() + ending
    if b"Content-Length: *" in data:
        length = len(data) - data.index(ending * 2) - 2 * len(ending)
        data = data.replace(b"Content-Length: *", b"Content-Length: %d" % length)
    return bytes(data)


def load(path):
    """Reads an exchange."""
    facts, _, script = path.read_text().partition("\n===\n")
    exchange = Exchange(dict(re.split(r":\s*", line, maxsplit=1) for line in facts.splitlines()))
    ending = b"\n" if exchange.facts.get("lines") == "lf" else b"\r\n"
    blocks = re.split(r"^(>>> .*|<<<|@ .*|EOF)\n", script, flags=re.MULTILINE)
    for kind, text in zip(blocks[1::2], blocks[2::2], strict=True):
        lines = text.split("\n")[:-1]
        if kind == "<<<":
            exchange.steps.append(("receive", _octets(lines, ending)))
        elif kind == "EOF":
            exchange.steps.append(("eof", None))
        elif kind.startswith("@ "):
            exchange.steps.append(("time", float(kind[2:])))
        else:
            exchange.steps.append(("send", (kind[4:], [line for line in lines if line])))
    return exchange


def _options(facts):
    pairs = (pair.split("-") for pair in facts.get("client_ports", "").split())
    return SessionOptions(
        transport=facts.get("transport", "tcp"),
        audio=facts.get("audio", "yes") == "yes",
        client_ports=tuple((int(first), int(second)) for first, second in pairs),
    )


def _expect(request, wanted):
    line, headers = wanted
    assert f"{request.method} {request.uri}" == line
    for header in headers:
        name, _, value = header.partition(":")
        assert (request.headers.get(name) or "") == value.strip(), f"{line}: {name}"


def replay(exchange, piece_bytes=None):
    """Plays the camera of the exchange in pieces of `piece_bytes`; what we send is compared with the file."""
    url = parse_camera_url(exchange.facts["url"])
    outcome = Outcome(RtspSession(url, b"seed", _options(exchange.facts)))
    session = outcome.session
    sent = RtspParser()
    requests = []
    now = 0.0
    session.start(now)
    try:
        for kind, what in exchange.steps:
            sent.feed(session.data_to_send())
            requests += sent.events()
            if kind == "send":
                if not requests and what[0].startswith("TEARDOWN"):
                    session.teardown(now)
                    sent.feed(session.data_to_send())
                    requests += sent.events()
                _expect(requests.pop(0), what)
                continue
            assert not requests, f"sent and not in the file: {requests}"
            if kind == "receive":
                size = piece_bytes or len(what)
                for begin in range(0, len(what), size):
                    session.feed(what[begin : begin + size], now)
                    outcome.events += session.events()
            elif kind == "time":
                now = what
                session.tick(now)
            else:
                session.eof()
            outcome.events += session.events()
    except RtspError as error:
        outcome.error = error
    else:
        sent.feed(session.data_to_send())
        assert not sent.events()
        assert session.state in (State.PLAYING, State.CLOSED)
    return outcome
