"""The addresses that a worker offers as candidates."""

import ipaddress

import ifaddr

from common.config import SystemConfig
from common.errors import LocalError

LOOPBACK = "127.0.0.1"


def machine_addresses() -> list[str]:
    """This machine's IPv4 addresses, without loopback and link-local ones."""
    found = []
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            if isinstance(entry.ip, str):
                address = ipaddress.IPv4Address(entry.ip)
                if not address.is_loopback and not address.is_link_local:
                    found.append(entry.ip)
    return found


def candidate_addresses(config: SystemConfig) -> tuple[str, ...]:
    """What the configuration says, else the machine's own; raises LocalError when there is none.

    Loopback comes first where the pages are served on loopback: the browser is then on this machine.
    """
    addresses = list(config.media_advertise) or machine_addresses()
    if config.media_loopback and LOOPBACK not in addresses:
        addresses.insert(0, LOOPBACK)
    if not addresses:
        raise LocalError("this machine has no IPv4 address to offer; set media.advertise")
    return tuple(addresses)
