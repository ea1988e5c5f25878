"""When a session needs a sign of life, and by which request (RFC 2326 sections 10.8, 12.37)."""

from ingest.rtsp.messages import Headers
from ingest.rtsp.quirks import KEEP_ALIVE_REFUSED, KEEP_ALIVE_UNANSWERED, Quirks

DEFAULT_SESSION_TIMEOUT_S = 60  # RFC 2326 section 12.37
# Half of the shortest timeout that the RFC can express.
MIN_PERIOD_S = 0.5
# Half of the default timeout; also what keeps the entry of a NAT box on the way alive.
MAX_PERIOD_S = 30.0


class KeepAlive:
    """GET_PARAMETER where the camera offers it, else OPTIONS; the other one after a refusal or silence.

    Not GET_PARAMETER unasked: there are servers that close the connection at a method they do not know.
    """

    def __init__(self, quirks: Quirks) -> None:
        self.period_s = DEFAULT_SESSION_TIMEOUT_S / 2
        "Seconds from one request to the next: half of the session's timeout."
        self.method = "OPTIONS"
        self._quirks = quirks
        self._due_at = 0.0

    def offered(self, headers: Headers) -> None:
        """Takes the answer to OPTIONS."""
        # RFC 2326 section 10.1 wants Public; some cameras write Allow.
        methods = ",".join((*headers.get_all("Public"), *headers.get_all("Allow"))).upper()
        if "GET_PARAMETER" in (item.strip() for item in methods.split(",")):
            self.method = "GET_PARAMETER"

    def timeout(self, timeout_s: int) -> None:
        """The camera's session timeout; 0, which some write, says nothing."""
        self.period_s = max(MIN_PERIOD_S, min((timeout_s or DEFAULT_SESSION_TIMEOUT_S) / 2, MAX_PERIOD_S))

    def restart(self, now: float) -> None:
        """A request went out: the next is due a period later."""
        self._due_at = now + self.period_s

    def due(self, now: float) -> bool:
        """It is time for one."""
        return now >= self._due_at

    def refused(self) -> None:
        """The camera answered with an error."""
        if self.method == "GET_PARAMETER":
            self._quirks.note(KEEP_ALIVE_REFUSED)
        self._switch()

    def unanswered(self) -> None:
        """The camera said nothing; the silence of the media is noticed elsewhere."""
        self._quirks.note(KEEP_ALIVE_UNANSWERED)
        self._switch()

    def _switch(self) -> None:
        self.method = "OPTIONS" if self.method == "GET_PARAMETER" else "GET_PARAMETER"
