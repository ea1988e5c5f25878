"""A test viewer's ICE: the controlling agent with aggressive nomination (RFC 8445), on aioice's STUN."""

import secrets

from aioice import stun

_PRIORITY = 0x6E7F1EFF  # of a peer-reflexive candidate (RFC 8445 section 7.1.1)
_MAX_OPEN_CHECKS = 200

Address = tuple[str, int]


class IceError(Exception):
    """The server's STUN is wrong: its integrity, or the address that it reports."""


class IceAgent:
    """Sans-IO: `check` makes requests, `feed` takes what came; `selected` is the first address to answer."""

    def __init__(self) -> None:
        self.ufrag = secrets.token_hex(2)
        self.pwd = secrets.token_hex(12)
        self.selected: Address | None = None
        self.answered = 0
        "Checks, later consent checks (RFC 7675), that were answered."
        self._remote_ufrag = ""
        self._remote_pwd = b""
        self._open: dict[bytes, Address] = {}
        self._tie_breaker = secrets.randbits(64)

    def set_remote(self, ufrag: str, pwd: str) -> None:
        """The credentials of the answer."""
        self._remote_ufrag = ufrag
        self._remote_pwd = pwd.encode()

    def check(self, address: Address) -> bytes:
        """A connectivity check that nominates its pair, for sending to `address`."""
        request = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.REQUEST,
            attributes={
                "USERNAME": f"{self._remote_ufrag}:{self.ufrag}",
                "PRIORITY": _PRIORITY,
                "ICE-CONTROLLING": self._tie_breaker,
                "USE-CANDIDATE": None,
            },
        )
        request.add_message_integrity(self._remote_pwd)
        if len(self._open) >= _MAX_OPEN_CHECKS:
            self._open.clear()
        self._open[request.transaction_id] = address
        return bytes(request)

    def feed(self, data: bytes, source: Address, own_port: int | None) -> bytes:
        """Takes a STUN message and gives what to answer, mostly nothing; raises IceError, ValueError.

        Without `own_port` the server may see another one, as behind a NAT.
        """
        message = stun.parse_message(data)
        if message.message_class == stun.Class.REQUEST:  # of an agent that is not ICE-lite
            return self._respond(message, source)
        asked = self._open.pop(message.transaction_id, None)
        # RFC 8445 section 7.2.5.2.1: the answer has to come from where the check went.
        if message.message_class != stun.Class.RESPONSE or asked != source:
            return b""
        if not message.check_message_integrity(self._remote_pwd):
            raise IceError("answer to a check has a wrong MESSAGE-INTEGRITY")
        if "FINGERPRINT" not in message.attributes:
            raise IceError("answer to a check has no FINGERPRINT (RFC 8445 section 7.3)")
        mapped = message.attributes.get("XOR-MAPPED-ADDRESS")
        if mapped is None or own_port not in (None, mapped[1]):
            raise IceError(f"answer to a check says XOR-MAPPED-ADDRESS {mapped}, the port is {own_port}")
        self.answered += 1
        if self.selected is None:
            self.selected = source
        return b""

    def _respond(self, request: stun.Message, source: Address) -> bytes:
        if not request.check_message_integrity(self.pwd.encode()):
            raise IceError("the server's own check has a wrong MESSAGE-INTEGRITY")
        response = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.RESPONSE,
            transaction_id=request.transaction_id,
            attributes={"XOR-MAPPED-ADDRESS": source},
        )
        response.add_message_integrity(self.pwd.encode())
        return bytes(response)
