"""The login of one RTSP connection: which request carries an answer, and when another try is worth it."""

import hashlib

from common.errors import LoginRefused
from common.urls import CameraUrl, redact
from ingest.rtsp.auth import Challenge, Credentials, authorization, parse_challenges
from ingest.rtsp.messages import Response, RtspError, RtspRefusal
from ingest.rtsp.quirks import NONCE_RENEWED, Quirks


class RtspLoginRefused(RtspRefusal, LoginRefused):
    """A camera answers the right challenge and a signed request with 401."""


class Login:
    """Signs requests once the camera has asked for it.

    Cameras lock an account, or the client's address, after a few wrong passwords. So a password is tried
    once: again only when the camera says that the nonce alone was old, when this password was accepted
    before, or when the challenge came from an earlier connection; and once per request at most.
    """

    def __init__(self, url: CameraUrl, entropy: bytes, known: Challenge | None, quirks: Quirks) -> None:
        self.challenge = known
        "The last one that the camera sent; None when a login by it failed, so that nobody remembers it."
        self._where = redact(url.public)
        self._credentials = (
            Credentials(url.username, url.password or "") if url.username is not None else None
        )
        self._entropy = entropy
        self._quirks = quirks
        self._foreign = known
        self._signed = 0
        self._nonce_count = 0
        self._asked = False
        self._stopped = False
        self.was_accepted = False
        "The password is right: a signed request was answered by something else than 401."

    def sign(self, method: str, uri: str) -> str | None:
        """The value of `Authorization` for the next request, None while nobody asked; raises ConfigError."""
        if self.challenge is None or self._credentials is None:
            return None
        self._signed += 1
        self._nonce_count += 1
        cnonce = hashlib.sha256(self._entropy + self._signed.to_bytes(8, "big")).hexdigest()[:16]
        return authorization(self.challenge, self._credentials, method, uri, self._nonce_count, cnonce)

    def accepted(self, method: str) -> None:
        """The camera answered a signed request with something else than 401.

        OPTIONS says nothing about the password before the camera asked for it: most answer that to anybody.
        """
        self.was_accepted = self.was_accepted or self._asked or method != "OPTIONS"

    def stop(self) -> None:
        """No more tries on this connection."""
        self._stopped = True
        self.challenge = None

    def refused(self, response: Response, answered: Challenge | None, renewals: int) -> None:
        """Takes a 401; returns when the request is to be sent again, raises RtspError when that is no use.

        `answered` is what the request's Authorization answered, `renewals` how often it was repeated
        although it had one.
        """
        if self._credentials is None:
            raise RtspRefusal(f"camera wants a user name and password for {self._where}; put them in its URL")
        if self._stopped:
            raise RtspError("camera refused the user name or password before; they are not tried again")
        self._asked = True
        challenge = parse_challenges(response.headers.get_all("WWW-Authenticate"))
        if answered is not None:
            renewed = challenge.nonce != answered.nonce
            again = challenge.stale or (renewed and (self.was_accepted or answered is self._foreign))
            if not again or renewals:
                if self.was_accepted:
                    raise RtspError(
                        f"camera no longer accepts the user name and password (401 to {challenge.shown})"
                    )
                self.stop()
                raise RtspLoginRefused(
                    f"camera refuses the user name or password (401 to {challenge.shown}); check its URL"
                )
            if self.was_accepted and not challenge.stale:
                self._quirks.note(NONCE_RENEWED)
        self.challenge = challenge
        self._nonce_count = 0
