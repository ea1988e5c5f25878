"""The Transport header of SETUP as a server reads and answers it (RFC 2326 section 12.39)."""

import re
from dataclasses import dataclass

MULTICAST_TTL = 1  # stays in the local network


@dataclass(frozen=True, slots=True)
class Interleaved:
    """Packets inside the RTSP connection."""

    rtp_channel: int
    rtcp_channel: int


@dataclass(frozen=True, slots=True)
class Unicast:
    """UDP to the client's ports."""

    rtp_port: int
    rtcp_port: int


@dataclass(frozen=True, slots=True)
class Multicast:
    """UDP to a group, the same for all who ask."""

    group: str
    rtp_port: int
    rtcp_port: int


Transport = Interleaved | Unicast | Multicast


@dataclass(frozen=True, slots=True)
class Offered:
    """What a track can be sent over besides its RTSP connection; None: not at all."""

    server_ports: tuple[int, int] | None
    multicast: Multicast | None


def _pair(choice: str, name: str) -> tuple[int, int] | None:
    match = re.search(rf";\s*{name}=(\d{{1,5}})(?:-(\d{{1,5}}))?\s*(?:;|$)", choice)
    if match is None:
        return None
    first = int(match[1])
    return first, int(match[2]) if match[2] else first + 1


def _agree(choice: str, track: int, offered: Offered) -> Transport | None:
    protocol, *parameters = (part.strip().lower() for part in choice.split(";"))
    if protocol == "rtp/avp/tcp":
        rtp, rtcp = _pair(choice, "interleaved") or (2 * track, 2 * track + 1)
        return Interleaved(rtp, rtcp) if rtp != rtcp and max(rtp, rtcp) < 256 else None
    if protocol not in ("rtp/avp", "rtp/avp/udp"):
        return None
    if "multicast" in parameters:
        return offered.multicast
    ports = _pair(choice, "client_port")
    if offered.server_ports is None or ports is None or not 0 < min(ports) <= max(ports) <= 65_535:
        return None
    return Unicast(*ports)


def choose(header: str, track: int, offered: Offered) -> Transport | None:
    """The first choice in the header that can be had; without channels the track gets its usual ones."""
    agreed = (_agree(choice, track, offered) for choice in header.split(","))
    return next((transport for transport in agreed if transport is not None), None)


def answer(transport: Transport, offered: Offered, ssrc: int) -> str:
    """The header of the reply."""
    match transport:
        case Interleaved(rtp, rtcp):
            return f"RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp};ssrc={ssrc:08X}"
        case Unicast(rtp, rtcp):
            server_rtp, server_rtcp = offered.server_ports or (0, 0)
            ports = f"client_port={rtp}-{rtcp};server_port={server_rtp}-{server_rtcp}"
            return f"RTP/AVP;unicast;{ports};ssrc={ssrc:08X}"
        case Multicast(group, rtp, rtcp):
            return f"RTP/AVP;multicast;destination={group};port={rtp}-{rtcp};ttl={MULTICAST_TTL}"
