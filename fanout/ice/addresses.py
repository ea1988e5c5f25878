"""The addresses that a worker offers, and the candidates that it makes of them (RFC 8445 section 5.1)."""

import ipaddress
from itertools import zip_longest

import ifaddr

from common.errors import LocalError
from common.resolved import SystemConfig

IPV4_LOOPBACK = "127.0.0.1"
IPV6_LOOPBACK = "::1"

# Type preferences (RFC 8445 section 5.1.2.2). That of TCP has to be lower than all of UDP's (RFC 6544
# section 4.2); Chromium gives its own candidates the same.
_UDP_HOST = 126
_TCP_HOST = 90
_PASSIVE = 4 << 13  # direction preference of TCP, above the 13 bits of the other one (RFC 6544 section 4.2)


def _machine_addresses() -> tuple[list[str], list[str], bool]:
    """IPv4 and IPv6 addresses that other machines may reach, and whether there is an IPv6 loopback."""
    found: dict[int, list[str]] = {4: [], 6: []}
    has_ipv6_loopback = False
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            # ifaddr tells IPv6 as (address, flow, scope).
            address = ipaddress.ip_address(entry.ip if isinstance(entry.ip, str) else entry.ip[0])
            if str(address) == IPV6_LOOPBACK:
                has_ipv6_loopback = True
            elif (
                not address.is_loopback
                and not address.is_link_local
                and str(address) not in found[address.version]
            ):
                found[address.version].append(str(address))
    return found[4], found[6], has_ipv6_loopback


def candidate_addresses(config: SystemConfig) -> tuple[str, ...]:
    """What the configuration says, else the machine's own, the best first; raises LocalError when there is
    none.

    Loopback comes first where the pages are served on loopback: the browser is then on this machine. IPv6
    and IPv4 take turns, so that a broken one of both delays little (RFC 8421 section 4).
    """
    ipv4, ipv6, has_ipv6_loopback = _machine_addresses()
    addresses = list(config.media_advertise)
    if not addresses:
        turns = zip_longest(ipv6, ipv4)
        addresses = [address for turn in turns for address in turn if address is not None]
    if config.media_loopback:
        loopback = [IPV4_LOOPBACK, IPV6_LOOPBACK] if has_ipv6_loopback else [IPV4_LOOPBACK]
        addresses[:0] = [address for address in loopback if address not in addresses]
    if not addresses:
        raise LocalError("this machine has no address to offer; set media.advertise")
    return tuple(addresses)


def udp_priority(position: int) -> int:
    """Of the UDP candidate with the address at `position` (RFC 8445 section 5.1.2.1)."""
    return _UDP_HOST << 24 | (65_535 - position) << 8 | 255


def tcp_priority(position: int) -> int:
    """Of the passive TCP candidate with the address at `position` (RFC 6544 section 4.2)."""
    return _TCP_HOST << 24 | (_PASSIVE | (8_191 - position)) << 8 | 255


def host_candidates(addresses: tuple[str, ...], port: int) -> tuple[str, ...]:
    """Lines for the answer, UDP first, each address on both (RFC 8839 section 5.1, RFC 6544 section 4.5)."""
    udp = [
        f"candidate:{position + 1} 1 udp {udp_priority(position)} {address} {port} typ host"
        for position, address in enumerate(addresses)
    ]
    tcp = [
        f"candidate:{len(addresses) + position + 1} 1 tcp {tcp_priority(position)} {address} {port}"
        " typ host tcptype passive"
        for position, address in enumerate(addresses)
    ]
    return (*udp, *tcp)
