"""Remote candidates as a browser writes them: RFC 8839 section 5.1, trickled as in RFC 8840."""

import ipaddress
import re

from aioice import Candidate
from aioice.mdns import is_mdns_hostname

from common.errors import ViewerError

MAX_REMOTE_CANDIDATES = 24
MAX_FRAGMENT = 16 << 10
MAX_LINE = 512
_CANDIDATE = re.compile(
    r"candidate:(?P<foundation>[A-Za-z0-9+/]{1,32}) 1 (?i:udp) (?P<priority>[0-9]{1,10})"
    r" (?P<host>[A-Za-z0-9.:-]{1,255}) (?P<port>[0-9]{1,5}) typ (?P<type>host|srflx|relay)(?= |$)"
)
_UFRAG = "a=ice-ufrag:"


def parse_candidate(line: str) -> Candidate | None:
    """A candidate line without `a=`; None for what is of no use here: TCP, other components, DNS names."""
    match = _CANDIDATE.match(line) if len(line) <= MAX_LINE else None
    if match is None:
        return None
    host, port, priority = match["host"], int(match["port"]), int(match["priority"])
    if not 0 < port < 65_536 or not 0 < priority < 1 << 31:
        return None
    if not is_mdns_hostname(host):
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return None
        if address.is_unspecified or address.is_multicast:
            return None
        host = str(address)
    return Candidate(match["foundation"], 1, "udp", priority, host, port, match["type"])


def parse_fragment(fragment: str, ufrag: str) -> list[Candidate]:
    """The usable candidates of a trickled fragment from the viewer with this ufrag.

    Those of another ufrag belong to another run of ICE (RFC 8840 section 4.4). Raises ViewerError when the
    fragment is too long.
    """
    if len(fragment) > MAX_FRAGMENT:
        raise ViewerError(f"a fragment of candidates has {len(fragment)} characters; {MAX_FRAGMENT} are read")
    found = []
    for line in fragment.splitlines():
        if line.startswith(_UFRAG) and line.removeprefix(_UFRAG).rstrip() != ufrag:
            return []
        candidate = parse_candidate(line[2:].rstrip()) if line.startswith("a=candidate:") else None
        if candidate is not None:
            found.append(candidate)
    return found[:MAX_REMOTE_CANDIDATES]
