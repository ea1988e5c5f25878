"""What each request wants of whoever makes it. What is not listed here is refused. [P]

Where `camera` is set, the camera named in the path must be one that the principal may see; others are
answered as if they did not exist.
"""

from typing import NamedTuple

from signaling.access.principal import Need


class Wanted(NamedTuple):
    """What one route wants."""

    need: Need
    camera: bool = False


PUBLIC = Wanted("public")
"Says nothing of this system that a stranger may not know."

ROUTES: dict[tuple[str, str], Wanted] = {
    ("GET", "/healthz"): PUBLIC,
    ("GET", "/readyz"): PUBLIC,
    ("GET", "/metrics"): Wanted("operator"),
    ("GET", "/view"): PUBLIC,
    ("GET", "/ws"): Wanted("viewer"),
    ("POST", "/whep/{camera}"): Wanted("viewer", camera=True),
    ("OPTIONS", "/whep/{camera}"): Wanted("viewer", camera=True),
    ("PATCH", "/whep/{camera}/{session}"): Wanted("viewer", camera=True),
    ("DELETE", "/whep/{camera}/{session}"): Wanted("viewer", camera=True),
    ("OPTIONS", "/whep/{camera}/{session}"): Wanted("viewer", camera=True),
    ("GET", "/api/v1/openapi.json"): PUBLIC,
    ("GET", "/api/v1/"): PUBLIC,
    ("POST", "/api/v1/login"): PUBLIC,
    ("POST", "/api/v1/logout"): PUBLIC,
    ("GET", "/api/v1/me"): Wanted("viewer"),
    ("GET", "/api/v1/cameras"): Wanted("viewer"),
    ("GET", "/api/v1/cameras/{camera}"): Wanted("admin", camera=True),
    ("PUT", "/api/v1/cameras/{camera}"): Wanted("admin"),
    ("DELETE", "/api/v1/cameras/{camera}"): Wanted("admin", camera=True),
    ("GET", "/api/v1/cameras/{camera}/report"): Wanted("viewer", camera=True),
    ("GET", "/api/v1/cameras/{camera}/snapshot"): Wanted("viewer", camera=True),
    ("GET", "/api/v1/cameras-order"): Wanted("admin"),
    ("PUT", "/api/v1/cameras-order"): Wanted("admin"),
    ("POST", "/api/v1/probe"): Wanted("admin"),
    ("GET", "/api/v1/sessions"): Wanted("operator"),
    ("DELETE", "/api/v1/sessions/{session}"): Wanted("operator"),
    ("GET", "/api/v1/workers"): Wanted("operator"),
    ("POST", "/api/v1/workers/{worker}/drain"): Wanted("operator"),
    ("DELETE", "/api/v1/workers/{worker}/drain"): Wanted("operator"),
    ("GET", "/api/v1/users"): Wanted("admin"),
    ("GET", "/api/v1/users/{user}"): Wanted("admin"),
    ("PUT", "/api/v1/users/{user}"): Wanted("admin"),
    ("DELETE", "/api/v1/users/{user}"): Wanted("admin"),
    ("GET", "/api/v1/links"): Wanted("admin"),
    ("POST", "/api/v1/links"): Wanted("admin"),
    ("DELETE", "/api/v1/links/{link}"): Wanted("admin"),
    ("GET", "/api/v1/configuration"): Wanted("operator"),
    ("POST", "/api/v1/configuration/reload"): Wanted("admin"),
    ("GET", "/api/v1/events"): Wanted("viewer"),
    ("GET", "/api/v1/ice-servers"): Wanted("viewer"),
}
