"""Whoever asks: a user, a token, a link, the anonymous one; and what they may. [P]"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from common.access_config import ROLES, Role

Need = Literal["public", "viewer", "operator", "admin"]
"The least role that a request wants; `public`: none, not even a login."

Kind = Literal["anonymous", "user", "token", "link"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who is known, for as long as `still` holds (`Authority.renew`)."""

    name: str
    "For the audit log and the API: user name, subject of a token, `link-ID`, `anonymous`."
    kind: Kind
    role: Role
    cameras: tuple[str, ...]
    "Name patterns."
    credential: str = ""
    "Identifies the login, token or link, so that it can be revoked alone; never a secret."
    expires_at: float | None = None
    "UTC seconds since 1970."
    configures: bool = True
    "False for the anonymous who may be elsewhere: may not change the configuration, whatever the role."

    def may(self, need: Need) -> bool:
        """True when the role suffices."""
        if need == "public":
            return True
        if need == "admin" and not self.configures:
            return False
        return ROLES.index(self.role) >= ROLES.index(need)

    def may_see(self, camera: str) -> bool:
        """True when one of the patterns names the camera; an admin sees all."""
        return self.role == "admin" or any(fnmatchcase(camera, pattern) for pattern in self.cameras)
