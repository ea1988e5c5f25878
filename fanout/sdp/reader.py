"""Reads the lines of an SDP offer (RFC 8866): its sections and their attributes, in linear time."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from common.errors import ViewerError

MAX_BYTES = 64 << 10
# An offer of Chromium has 220 lines for a video and an audio section.
MAX_LINES = 4000
MAX_SECTIONS = 16
MAX_FORMATS = 128  # there are no more payload types

_MEDIA = re.compile(r"([A-Za-z0-9]{1,32}) ([0-9]{1,5})(?:/[0-9]+)? ([A-Z/]{1,32}) (\S(?:.*\S)?)")
_TOKEN = re.compile(r"[A-Za-z0-9+/=_.-]{1,256}")


class BadOffer(ViewerError):
    """The text is not an SDP offer this server can read."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """The `a=` lines of the session or of one section, as (name, value) in their order."""

    lines: tuple[tuple[str, str], ...]

    def all(self, name: str) -> Iterator[str]:
        """The values of every line of that name."""
        return (value for key, value in self.lines if key == name)

    def first(self, name: str) -> str | None:
        """The value of the first line of that name, None when there is none."""
        return next(self.all(name), None)


@dataclass(frozen=True, slots=True)
class Media:
    """One m-section."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Description:
    """A session description."""

    session: Attributes
    media: tuple[Media, ...]

    def attribute(self, media: Media, name: str) -> str | None:
        """The value that a section has itself, else the session's (RFC 8866 section 5.13)."""
        own = media.attributes.first(name)
        return own if own is not None else self.session.first(name)


def token(text: str | None, what: str) -> str:
    """The text where it is safe to repeat in an answer; raises BadOffer when it is not or is missing."""
    if text is None or not _TOKEN.fullmatch(text):
        raise BadOffer(f"the offer has no {what}, or a malformed one")
    return text


def _media(line: str, attributes: list[tuple[str, str]]) -> Media:
    match = _MEDIA.fullmatch(line)
    formats = match[4].split() if match else []
    if match is None or len(formats) > MAX_FORMATS:
        raise BadOffer("the offer has a malformed m= line")
    return Media(
        kind=match[1],
        port=int(match[2]),
        protocol=match[3],
        formats=tuple(token(name, "format in an m= line") for name in formats),
        attributes=Attributes(tuple(attributes)),
    )


def read(sdp: str) -> Description:
    """Reads an SDP text; what other lines than `m=` and `a=` say is of no use in WebRTC.

    Raises BadOffer when it is none, or passes MAX_BYTES, MAX_LINES, MAX_SECTIONS or MAX_FORMATS.
    """
    if len(sdp) > MAX_BYTES:
        raise BadOffer(f"the offer has {len(sdp)} characters, at most {MAX_BYTES} are read")
    if not sdp.startswith("v=0"):
        raise BadOffer("the offer is not SDP: it must begin with v=0")
    lines = sdp.split("\n", MAX_LINES)
    if len(lines) > MAX_LINES:
        raise BadOffer(f"the offer has more than {MAX_LINES} lines")
    session: list[tuple[str, str]] = []
    sections: list[tuple[str, list[tuple[str, str]]]] = []
    attributes = session
    for line in lines:
        text = line.strip()
        if text.startswith("m="):
            attributes = []
            sections.append((text[2:], attributes))
            if len(sections) > MAX_SECTIONS:
                raise BadOffer(f"the offer has more than {MAX_SECTIONS} sections")
        elif text.startswith("a="):
            name, _, value = text[2:].partition(":")
            attributes.append((name, value))
        elif text and text[1:2] != "=":
            raise BadOffer("the offer is not valid SDP: a line has no type")
    return Description(Attributes(tuple(session)), tuple(_media(*section) for section in sections))
