"""Networks that are believed, and what the proxies in them say of a client. [P]

`Forwarded` (RFC 7239), or X-Forwarded-For, -Proto, -Host and -Prefix. Read from the end: only what a believed
machine has added counts, the rest a client may have written itself. Most proxies write one kind and pass the
other on as a client sent it: where the two name different clients, neither is believed.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from multidict import MultiMapping

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_HOPS = 32
MAX_HEADER = 4096
_HOST = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]{1,64}){1,16}")
# RFC 7239 section 4: pairs of a token and a token or quoted string.
_PAIR = re.compile(r'\s*([A-Za-z]{1,32})\s*=\s*("(?:[^"\\]|\\.){0,300}"|[^\s",;=]{1,300})\s*(;|,|$)')


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks, and how its request looked before the proxies."""

    address: str
    scheme: Literal["http", "https"] | None = None
    host: str | None = None
    "With its port, as in Host."
    prefix: str = ""
    "Path under which the proxy shows this server; empty, or with a slash in front and none at the end."


class Networks:
    """A set of addresses and networks; raises ValueError for what is neither."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [ipaddress.ip_network(network, strict=False) for network in networks]

    def __contains__(self, address: str) -> bool:
        found = parse_address(address)
        return found is not None and any(
            found.version == network.version and found in network for network in self._networks
        )


def parse_address(text: str) -> Address | None:
    """An IP address; IPv4 in IPv6 (RFC 4291 section 2.5.5.2) as IPv4, a scope is left out."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def client(peer: str, headers: MultiMapping[str], trusted: Networks) -> Client:
    """The client behind `peer`; headers count only where `peer` is trusted, and bad values not at all."""
    known = parse_address(peer)
    direct = Client(str(known) if known is not None else peer)
    if peer not in trusted:
        return direct
    prefix = _joined(headers, "X-Forwarded-Prefix").rstrip("/")
    prefix = prefix if _PREFIX.fullmatch(prefix) else ""
    if "Forwarded" not in headers:
        return _by_x_forwarded(direct.address, headers, trusted, prefix)
    found = _by_forwarded(direct.address, _joined(headers, "Forwarded"), trusted, prefix)
    if "X-Forwarded-For" not in headers:
        return found
    other = _by_x_forwarded(direct.address, headers, trusted, prefix)
    return other if other.address == found.address else direct


def _by_x_forwarded(address: str, headers: MultiMapping[str], trusted: Networks, prefix: str) -> Client:
    for hop in reversed(_list(_joined(headers, "X-Forwarded-For"))):
        found = _node(hop)
        if found is None:
            break
        address = found
        if found not in trusted:
            break
    return Client(
        address,
        _scheme(_last(_joined(headers, "X-Forwarded-Proto"))),
        _host(_last(_joined(headers, "X-Forwarded-Host"))),
        prefix,
    )


def _by_forwarded(address: str, value: str, trusted: Networks, prefix: str) -> Client:
    found = Client(address, prefix=prefix)
    for element in reversed(parse_forwarded(value)):
        node = _node(element.get("for", ""))
        if node is None:
            break
        found = Client(node, _scheme(element.get("proto", "")), _host(element.get("host", "")), prefix)
        if node not in trusted:
            break
    return found


def parse_forwarded(value: str) -> list[dict[str, str]]:
    """The elements of a Forwarded header (RFC 7239 section 4); none when it breaks the syntax."""
    elements: list[dict[str, str]] = [{}]
    at = 0
    if len(value) > MAX_HEADER:
        return []
    while at < len(value):
        match = _PAIR.match(value, at)
        if match is None:
            return []
        name, content, end = match[1].lower(), match[2], match[3]
        if name in elements[-1]:
            return []
        if content.startswith('"'):
            content = re.sub(r"\\(.)", r"\1", content[1:-1])
        elements[-1][name] = content
        if end == ",":
            elements.append({})
        elif not end and match.end() != len(value):
            return []
        at = match.end()
    return elements if all(elements) and len(elements) <= MAX_HOPS else []


def unread(headers: MultiMapping[str], found: Client) -> list[str]:
    """Names of a trusted proxy's headers that say something, but nothing that can be believed."""
    if "Forwarded" in headers:
        about = {"Forwarded": bool(parse_forwarded(_joined(headers, "Forwarded")))}
    else:
        hops = _list(_joined(headers, "X-Forwarded-For"))
        about = {
            "X-Forwarded-For": not hops or hops[-1] == "unknown" or _node(hops[-1]) is not None,
            "X-Forwarded-Proto": found.scheme is not None,
            "X-Forwarded-Host": found.host is not None,
        }
    about["X-Forwarded-Prefix"] = found.prefix != "" or headers.get("X-Forwarded-Prefix") == "/"
    return [name for name, right in about.items() if not right and headers.get(name)]


def _joined(headers: MultiMapping[str], name: str) -> str:
    # A proxy may add a line of its own below the client's (RFC 9110 section 5.3).
    return ", ".join(headers.getall(name, []))


def _list(value: str) -> list[str]:
    return [item.strip() for item in value[-MAX_HEADER:].split(",")][-MAX_HOPS:] if value else []


def _last(value: str) -> str:
    return value.rpartition(",")[2].strip()


def _node(text: str) -> str | None:
    """The address of a node, with or without port (RFC 7239 section 6)."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    found = parse_address(text)
    return str(found) if found is not None else None


def _scheme(text: str) -> Literal["http", "https"] | None:
    match text.lower():
        case "http":
            return "http"
        case "https":
            return "https"
        case _:
            return None


def is_host(text: str) -> bool:
    """True for what may stand in Host (RFC 9110 section 7.2)."""
    match = _HOST.fullmatch(text)
    if match is None or not text.startswith("["):
        return match is not None
    return ":" in match[1] and parse_address(match[1][1:-1]) is not None


def names_loopback(host: str) -> bool:
    """True for a Host that is this machine's own under any circumstances: no other name can be made to."""
    name = urlsplit(f"//{host}").hostname or ""
    address = parse_address(name)
    return name == "localhost" or (address is not None and address.is_loopback)


def forwarded(headers: MultiMapping[str]) -> bool:
    """True when a proxy says so, believed or not."""
    return any(name.lower() == "forwarded" or name.lower().startswith("x-forwarded-") for name in headers)


def _host(text: str) -> str | None:
    return text if is_host(text) else None
