"""The error tree; the type says whose fault it is.

    CctvError
    ├── ConfigError        the operator's: a configuration key or value
    ├── PeerError          the other side's: bytes or behaviour from the network
    │   ├── CameraError    an RTSP server or other source (details in ingest)
    │   │   └── CameraRefusal  it says no: trying again soon cannot help
    │   │       └── LoginRefused  user name or password: trying again soon may lock the account
    │   ├── ViewerError    a browser or WHEP client
    │   └── BusError       another process of this system, e.g. of another version
    └── LocalError         this machine's: a port in use, a missing file

Messages never hold credentials: URLs are written through `common.urls.redact`.
"""


class CctvError(Exception):
    """Root of every error this program raises on purpose."""


class ConfigError(CctvError):
    """A configuration that cannot be used; the message says where, what and what is allowed."""


class PeerError(CctvError):
    """The other side of a connection broke its protocol or refused."""


class CameraError(PeerError):
    """A camera refused, disappeared or sent what RTSP or RTP do not allow."""


class CameraRefusal(CameraError):
    """A camera says no for a reason that lasts: login, path, codec, certificate. Somebody has to mend it."""


class LoginRefused(CameraRefusal):
    """A camera refuses user name and password. Many lock the account after a few such attempts."""


class ViewerError(PeerError):
    """A browser or WHEP client sent something unusable."""


class BusError(PeerError):
    """A frame on the internal bus that this version cannot read."""


class LocalError(CctvError):
    """This machine lacks something: a free port, a file, a permission."""
