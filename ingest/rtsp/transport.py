"""The Transport header of SETUP (RFC 2326 section 12.39): what we ask for, and what the camera agreed to."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from ingest.rtsp.messages import TransportRefused, shown
from ingest.rtsp.quirks import (
    CHANNELS_LEFT_OUT,
    NO_SERVER_PORT,
    OTHER_CHANNELS,
    OTHER_TRANSPORT,
    SAME_CHANNELS,
    Quirks,
)
from ingest.rtsp.sdp import Track

TransportKind = Literal["tcp", "udp", "multicast"]
NAMES: dict[TransportKind, str] = {"tcp": "TCP", "udp": "UDP", "multicast": "multicast"}


@dataclass(frozen=True, slots=True)
class Interleaved:
    """RTP and RTCP inside the RTSP connection (section 10.12)."""

    rtp_channel: int
    rtcp_channel: int


@dataclass(frozen=True, slots=True)
class Unicast:
    """UDP to our ports."""

    client_rtp_port: int
    client_rtcp_port: int
    server: str | None
    "The `source` parameter where it can be true; None means the RTSP server itself."
    server_rtp_port: int | None
    "None when the camera does not say."
    server_rtcp_port: int | None


@dataclass(frozen=True, slots=True)
class Multicast:
    """UDP to a group that we join."""

    group: str
    rtp_port: int
    rtcp_port: int
    source: str | None
    "Of a source-specific group."


Transport = Interleaved | Unicast | Multicast


def offer(kind: TransportKind, number: int, ports: tuple[int, int] | None) -> str:
    """What SETUP asks for; `number` counts SETUP requests from 0, `ports` are ours for UDP.

    Always with `unicast` or `multicast`: the RFC's default is multicast, and VLC takes it at its word.
    """
    match kind:
        case "tcp":
            return f"RTP/AVP/TCP;unicast;interleaved={2 * number}-{2 * number + 1}"
        case "multicast":
            return "RTP/AVP;multicast"
        case "udp":
            if ports is None:
                raise ValueError("a SETUP for UDP needs client_ports")
            return f"RTP/AVP;unicast;client_port={ports[0]}-{ports[1]}"


def _parameters(text: str) -> dict[str, str]:
    """The first transport that the camera lists; names in lower case, flags without value."""
    items = (item.partition("=") for item in text.split(",")[0].split(";"))
    return {name.strip().lower(): value.strip().strip('"') for name, _, value in items}


def _pair(value: str | None, limit: int) -> tuple[int, int] | None:
    """`a-b`, or `a` alone with the one after it; None when it is neither or passes `limit`."""
    match = re.fullmatch(r"(\d{1,5})(?:\s*-\s*(\d{1,5}))?", value or "")
    if match is None:
        return None
    first = int(match[1])
    # Nobody can tell RTP from RTCP by one number for both, so that is read like one number alone.
    second = int(match[2]) if match[2] and int(match[2]) != first else first + 1
    return (first, second) if max(first, second) <= limit else None


def _ports(value: str | None) -> tuple[int, int] | None:
    pair = _pair(value, 65_535)
    return pair if pair and pair[0] else None


def _address(text: str | None) -> str | None:
    """An address; without zone (RFC 4007 section 11), as the camera's means nothing here."""
    text = (text or "").strip("[]")
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return None if address.is_unspecified or "%" in text else str(address)


def _sender(text: str | None) -> str | None:
    """An address that packets of a camera can come from."""
    found = _address(text)
    if found is None:
        return None
    address = ip_address(found)
    return None if address.is_loopback or address.is_multicast or address.is_reserved else found


def _interleaved(
    agreed_to: dict[str, str], number: int, taken: Collection[int], quirks: Quirks
) -> Interleaved:
    asked = Interleaved(2 * number, 2 * number + 1)
    answer = agreed_to.get("interleaved")
    pair = _pair(answer, 255) if answer else (asked.rtp_channel, asked.rtcp_channel)
    if pair is None:
        raise TransportRefused(f"camera wants interleaved channels {shown(answer or '')!r}")
    if not answer:
        quirks.note(CHANNELS_LEFT_OUT)
    elif not set(pair).isdisjoint(taken):
        quirks.note(SAME_CHANNELS)
        pair = (asked.rtp_channel, asked.rtcp_channel)
    if not set(pair).isdisjoint(taken):
        raise TransportRefused(f"camera uses the interleaved channels {pair[0]} and {pair[1]} for two tracks")
    if pair != (asked.rtp_channel, asked.rtcp_channel):
        quirks.note(OTHER_CHANNELS)
    return Interleaved(*pair)


def _multicast(agreed_to: dict[str, str], track: Track) -> Multicast:
    group = _address(agreed_to.get("destination")) or _address(track.address)
    ports = _ports(agreed_to.get("port")) or _ports(agreed_to.get("client_port"))
    if ports is None and track.port:
        ports = (track.port, track.port + 1)
    if group is None or ports is None or not ip_address(group).is_multicast:
        raise TransportRefused("camera agrees to multicast and does not say where; ask for TCP or UDP")
    return Multicast(group, *ports, source=_address(agreed_to.get("source")))


def agreed(
    header: str | None,
    kind: TransportKind,
    number: int,
    ports: tuple[int, int] | None,
    track: Track,
    taken: Collection[int],
    quirks: Quirks,
) -> Transport:
    """Reads the Transport header of the answer to `offer(kind, number, ports)` for `track`.

    `taken` are the channels of tracks before it. What was not asked for is accepted where it can be used.
    Raises TransportRefused.
    """
    agreed_to = _parameters(header or "")
    if "interleaved" in agreed_to or "rtp/avp/tcp" in agreed_to:
        answered: TransportKind = "tcp"
    elif "multicast" in agreed_to or ("port" in agreed_to and "destination" in agreed_to):
        answered = "multicast"
    elif "client_port" in agreed_to or "server_port" in agreed_to:
        answered = "udp"
    else:
        # No header, or one that says nothing: the camera does what was asked.
        answered = kind
    if answered == "tcp":
        transport: Transport = _interleaved(agreed_to, number, taken, quirks)
    elif answered == "multicast" and kind != "tcp":
        transport = _multicast(agreed_to, track)
    elif answered == "udp" and ports is not None:
        # The camera's `client_port` is not looked at: some write nonsense there and send to ours.
        server = _ports(agreed_to.get("server_port"))
        if server is None:
            quirks.note(NO_SERVER_PORT)
        transport = Unicast(*ports, _sender(agreed_to.get("source")), *(server or (None, None)))
    else:
        raise TransportRefused(
            f"camera wants to send by {NAMES[answered]} although {NAMES[kind]} was asked for", lasting=True
        )
    if answered != kind:
        quirks.note(OTHER_TRANSPORT)
    return transport
