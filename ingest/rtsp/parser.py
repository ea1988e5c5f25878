"""Octets of an RTSP connection to messages and interleaved frames, piece by piece (RFC 2326)."""

import re
from dataclasses import dataclass

from ingest.rtsp.messages import (
    Headers,
    InterleavedFrames,
    Request,
    Response,
    RtspError,
    RtspMessage,
    shown,
)
from ingest.rtsp.quirks import (
    BARE_LINE_FEEDS,
    BLANK_HEADER_LINE,
    HEADER_LINE_MALFORMED,
    HTTP_STATUS_LINE,
    JUNK_BETWEEN_MESSAGES,
    LENGTH_TOO_LONG,
    STALE_FRAMES,
    STATUS_LINE_UNSPACED,
    UNASKED_CHANNELS,
    Quirks,
)

MAX_HEADER_BYTES = 16 << 10
MAX_BODY_BYTES = 256 << 10
# One frame and a half of the largest kind may be passed over in search of the next message.
MAX_GARBAGE_BYTES = 96 << 10
# Some cameras send tracks that nobody has set up: their channel numbers are small.
MAX_UNASKED_CHANNEL = 15

_DOLLAR = 0x24
_ANSWERS = (b"RTSP/1.", b"HTTP/1.")
_STARTS = (
    b"RTSP/",
    b"HTTP/1.",
    b"OPTIONS ",
    b"ANNOUNCE ",
    b"GET_PARAMETER ",
    b"SET_PARAMETER ",
    b"REDIRECT ",
    b"TEARDOWN ",
    b"DESCRIBE ",
    b"SETUP ",
    b"PLAY ",
    b"PAUSE ",
    b"RECORD ",
)
_LONGEST_START = max(map(len, _STARTS))
_RESYNC = re.compile(rb"\$|" + rb"|".join(map(re.escape, _STARTS)))
_STATUS_LINE = re.compile(r"(RTSP|HTTP)/\d+\.\d+\s+(\d{3})(?:(\s*)(\S.*))?")
_REQUEST_LINE = re.compile(r"([A-Z_]+) +(\S+) +RTSP/\d+\.\d+")
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class _Head:
    """A message whose body is not there yet."""

    start: str
    headers: Headers
    body_at: int
    "Where the body starts, counted from the start of the message."
    body_length: int


class RtspParser:
    """`feed` octets, then take `events`.

    What is not RTSP before the first message is refused at once. Later garbage between messages is passed
    over and counted in `garbage_bytes`, up to MAX_GARBAGE_BYTES in a row. Raises RtspError; the parser is
    of no use after that.
    """

    def __init__(self, quirks: Quirks | None = None) -> None:
        self.garbage_bytes = 0
        "Octets passed over between messages."
        self.channels: frozenset[int] = frozenset()
        "Interleaved channels that were set up; they steer the search after garbage."
        self._quirks = quirks if quirks is not None else Quirks()
        self._buffer = bytearray()
        self._searched = 0
        self._head: _Head | None = None
        self._garbage_run = 0
        self._in_step = False
        self._lost = False

    @property
    def awaits_body(self) -> bool:
        """The headers of a message are there, its body is not or in part."""
        return self._head is not None

    def feed(self, data: bytes | memoryview) -> None:
        """Adds octets as they came from the network."""
        self._buffer += data

    def events(self) -> list[RtspMessage]:
        """The messages that are complete by now; raises RtspError."""
        messages: list[RtspMessage] = []
        run_channel = -1
        run: list[bytes] = []
        buffer = self._buffer
        end = len(buffer)
        position = 0
        try:
            while position < end:
                if self._lost:
                    position = self._search(position)
                    if self._lost:
                        break
                if buffer[position] == _DOLLAR and (self._in_step or self._stale_frame(position)):
                    # The path of nearly all octets: kept short.
                    if position + 4 > end:
                        break
                    channel = buffer[position + 1]
                    if channel <= MAX_UNASKED_CHANNEL or channel in self.channels:
                        stop = position + 4 + (buffer[position + 2] << 8 | buffer[position + 3])
                        if stop > end:
                            break
                        if channel != run_channel:
                            run_channel = channel
                            run = []
                            messages.append(InterleavedFrames(channel, run))
                            if channel not in self.channels:
                                self._quirks.note(UNASKED_CHANNELS if self.channels else STALE_FRAMES)
                        run.append(bytes(buffer[position + 4 : stop]))
                        position = stop
                        self._garbage_run = 0
                        continue
                elif buffer[position] in b"\r\n":
                    position += 1
                    continue
                else:
                    head = bytes(buffer[position : position + _LONGEST_START])
                    if head.startswith(_STARTS):
                        length, message = self._text(position)
                        if message is None:
                            break
                        messages.append(message)
                        run_channel = -1
                        position += length
                        self._in_step = True
                        self._garbage_run = 0
                        continue
                    if len(head) < _LONGEST_START and any(start.startswith(head) for start in _STARTS):
                        break
                if not self._in_step and buffer[position] == _DOLLAR and position + 5 > end:
                    break
                self._lose_step(position)
                position += 1
        finally:
            del buffer[:position]
        return messages

    def cut_short(self) -> list[RtspMessage]:
        """The message whose body stays away, with what of it is there; call `events` for what follows."""
        head = self._head
        if head is None:
            return []
        self._quirks.note(LENGTH_TOO_LONG)
        message = _build(head.start, head.headers, bytes(self._buffer[head.body_at :]))
        self._buffer.clear()
        self._head = None
        self._searched = 0
        self._in_step = True
        return [message]

    def _text(self, position: int) -> tuple[int, RtspMessage | None]:
        """The message that starts at `position` and its length, or None while it is incomplete."""
        buffer = self._buffer
        head = self._head or self._read_head(position)
        self._head = head
        if head is None:
            return 0, None
        body_at = position + head.body_at
        length = head.body_length
        if length:
            begin = bytes(buffer[body_at : body_at + len(_ANSWERS[0])])
            if begin.startswith(_ANSWERS) or (begin[:1] == b"$" and self._plausible_frame(body_at)):
                self._quirks.note(LENGTH_TOO_LONG)
                length = 0
            elif len(begin) < len(_ANSWERS[0]) and begin[:1] in (b"$", b"R", b"H"):
                # What it is cannot be told yet.
                return 0, None
        if body_at + length > len(buffer):
            return 0, None
        self._head = None
        return body_at + length - position, _build(
            head.start, head.headers, bytes(buffer[body_at : body_at + length])
        )

    def _read_head(self, position: int) -> _Head | None:
        """Start line and headers of the message at `position`, None while they are incomplete."""
        buffer = self._buffer
        # Searched before: all but the last 3 octets, which may begin the empty line.
        begin = position + max(0, self._searched - 3)
        match = _END_OF_HEADERS.search(buffer, begin, position + MAX_HEADER_BYTES)
        if match is None:
            if len(buffer) - position >= MAX_HEADER_BYTES:
                raise RtspError(f"camera sends an RTSP header of more than {MAX_HEADER_BYTES} octets")
            self._searched = len(buffer) - position
            return None
        self._searched = 0
        text = bytes(buffer[position : match.end()]).decode("utf-8", "replace")
        if re.search(r"(?<!\r)\n", text):
            self._quirks.note(BARE_LINE_FEEDS)
        start, *lines = (line.rstrip() if line.strip() else line for line in text.split("\n")[:-2])
        headers = _parse_headers(lines, self._quirks)
        status = _STATUS_LINE.fullmatch(start)
        if status and status[1] == "HTTP":
            if headers.get("CSeq") is None and not self._in_step:
                raise _no_rtsp(start)
            self._quirks.note(HTTP_STATUS_LINE)
        if status and not status[3]:
            self._quirks.note(STATUS_LINE_UNSPACED)
        return _Head(start, headers, match.end() - position, _content_length(headers))

    def _lose_step(self, position: int) -> None:
        """What is at `position` begins no message."""
        if not self._in_step:
            raise _no_rtsp(bytes(self._buffer[position:]).decode("ascii", "replace"))
        self._lost = True
        self._quirks.note(JUNK_BETWEEN_MESSAGES)
        self._passed(1)

    def _search(self, position: int) -> int:
        """Where the next message starts; while none is there, still lost, where to search on."""
        buffer = self._buffer
        begin = position
        while match := _RESYNC.search(buffer, position):
            position = match.start()
            if buffer[position] != _DOLLAR or self._plausible_frame(position):
                self._lost = False
                break
            if position + 5 > len(buffer):
                break
            position += 1
        else:
            # The last octets may be the beginning of a start.
            position = max(position, len(buffer) - _LONGEST_START + 1)
        self._passed(position - begin)
        return position

    def _passed(self, count: int) -> None:
        self.garbage_bytes += count
        self._garbage_run += count
        if self._garbage_run > MAX_GARBAGE_BYTES:
            raise RtspError(f"camera sends {self._garbage_run} octets in a row that are neither RTSP nor RTP")

    def _plausible_frame(self, position: int) -> bool:
        """True for a `$` with a channel in use and the version bits of RTP and RTCP."""
        head = self._buffer[position : position + 5]
        return len(head) == 5 and head[1] in self.channels and head[4] >> 6 == 2

    def _stale_frame(self, position: int) -> bool:
        """True for a frame that can stand before the first message."""
        head = self._buffer[position : position + 5]
        return len(head) == 5 and head[1] <= MAX_UNASKED_CHANNEL and head[4] >> 6 == 2


def _no_rtsp(start: str) -> RtspError:
    return RtspError(
        f"what listens at the camera's address does not speak RTSP, it says {shown(start)!r}; "
        "check host and port"
    )


def _parse_headers(lines: list[str], quirks: Quirks) -> Headers:
    fields: list[tuple[str, str]] = []
    for line in lines:
        if line[:1] in (" ", "\t") and fields:  # a folded line (RFC 2616 section 2.2)
            name, value = fields[-1]
            fields[-1] = (name, f"{value} {line.strip()}".rstrip())
            if not line.strip():
                quirks.note(BLANK_HEADER_LINE)
            continue
        name, colon, value = line.partition(":")
        if not colon or not re.fullmatch(r"\S+", name.strip()):
            quirks.note(HEADER_LINE_MALFORMED)
            continue
        fields.append((name.strip(), value.strip()))
    return Headers(tuple(fields))


def _content_length(headers: Headers) -> int:
    value = headers.get("Content-Length") or "0"
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise RtspError(f"camera sends the Content-Length {shown(value)!r}")
    if int(value) > MAX_BODY_BYTES:
        raise RtspError(f"camera announces a body of {int(value)} octets, at most {MAX_BODY_BYTES} are read")
    return int(value)


def _build(start: str, headers: Headers, body: bytes) -> Request | Response:
    if status := _STATUS_LINE.fullmatch(start.strip()):
        return Response(int(status[2]), (status[4] or "").strip(), headers, body)
    if request := _REQUEST_LINE.fullmatch(start.strip()):
        return Request(request[1], request[2], headers, body)
    raise RtspError(f"camera sends a line that is neither RTSP request nor response: {shown(start)!r}")
