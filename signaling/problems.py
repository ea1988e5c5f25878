"""What a viewer is told when a request fails: problem details (RFC 9457), over HTTP and WebSocket. [P]"""

from collections.abc import Mapping
from http import HTTPStatus

from common.errors import ViewerError
from common.messages import RefusalKind, Refused

CONTENT_TYPE = "application/problem+json"

_STATUS_OF_REFUSAL: dict[RefusalKind, HTTPStatus] = {
    "bad-offer": HTTPStatus.BAD_REQUEST,
    "not-acceptable": HTTPStatus.NOT_ACCEPTABLE,
    "unknown-session": HTTPStatus.NOT_FOUND,
    "overloaded": HTTPStatus.SERVICE_UNAVAILABLE,
    "internal": HTTPStatus.INTERNAL_SERVER_ERROR,
    "bad-settings": HTTPStatus.UNPROCESSABLE_ENTITY,
    "unknown": HTTPStatus.NOT_FOUND,
    "exists": HTTPStatus.PRECONDITION_FAILED,
    "changed-meanwhile": HTTPStatus.PRECONDITION_FAILED,
    "read-only": HTTPStatus.CONFLICT,
}
RETRY_SOON_S = 1
RETRY_WHEN_FULL_S = 5


class Problem(ViewerError):
    """A request that fails; `detail` is for people and says what to do.

    `retry_after_s` is the Retry-After header (RFC 9110 section 10.2.3), `headers` are further ones.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        retry_after_s: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = int(status)
        self.detail = detail
        self.headers = dict(headers or {})
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(retry_after_s)

    def members(self) -> dict[str, str | int]:
        """The members of the problem object; `about:blank` means the status code says it all."""
        return {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }


def from_refusal(refused: Refused) -> Problem:
    """A worker's or the keeper's refusal as whoever asked sees it."""
    status = _STATUS_OF_REFUSAL[refused.kind]
    retry = RETRY_WHEN_FULL_S if status is HTTPStatus.SERVICE_UNAVAILABLE else None
    return Problem(status, refused.detail, retry)
