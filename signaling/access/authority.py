"""Who comes in, and what they may: the one place that is asked, for requests and for what already plays."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from aiohttp import web

from common.access_config import HttpAuthConfig, JwtConfig, SignalingConfig, UserConfig
from common.clock import Clock
from common.messages import Watcher
from signaling.access import links, networks
from signaling.access.attempts import Attempts
from signaling.access.audit import Audit
from signaling.access.external import External
from signaling.access.jwt import Jwt
from signaling.access.links import Link, Links
from signaling.access.logins import Login, Logins, fingerprint
from signaling.access.networks import Client, Networks
from signaling.access.passwords import Passwords
from signaling.access.principal import Principal
from signaling.problems import Problem

log = logging.getLogger(__name__)

COOKIE = "cctv3"
UNREAD_EVERY_S = 60.0
"At most so often is it said that a proxy's headers cannot be read."
LOCAL = Principal("local", "user", "admin", ("*",), "local")
"Whoever reaches the unix socket in the run folder may read the camera passwords there anyway."
SOCKET_PROTOCOL = "cctv3"
"What is spoken over the WebSocket, for clients that name protocols."
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="cctv3"'}

Means = Literal["socket", "bearer", "cookie", "proxy", "none"]


@dataclass(frozen=True, slots=True)
class Identified:
    """Who asks, and by what they are known."""

    principal: Principal
    means: Means

    @property
    def ambient(self) -> bool:
        """A browser shows it by itself, also when a page of somebody else makes it ask."""
        return self.means in ("cookie", "proxy", "none")


class Authority:
    """Knows users, tokens and links; `folder` (made, mode 0700) keeps logins and links over restarts.

    `loopback`: this server listens on loopback only.
    """

    def __init__(self, clock: Clock, folder: Path, config: SignalingConfig, loopback: bool) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._clock = clock
        self._loopback = loopback
        self._callbacks: list[Callable[[], None]] = []
        self._attempts = Attempts()
        self._passwords = Passwords()
        self.audit = Audit(folder / "audit.log", clock)
        self.logins = Logins(folder / "logins.json", clock)
        self.links = Links(folder / "links.json", clock)
        self._unread_again_s = 0.0
        self._jwt: Jwt | None = None
        self._jwt_config: JwtConfig | None = None
        self._external: External | None = None
        self._external_config: HttpAuthConfig | None = None
        self._take(config)

    def _take(self, config: SignalingConfig) -> None:
        auth = config.auth
        self._config = config
        self._users = {user.name: user for user in auth.users}
        # Fetched keys and remembered answers outlive a change of something else.
        if self._jwt_config != auth.jwt:
            self._jwt = Jwt(auth.jwt, self._clock) if auth.jwt is not None else None
            self._jwt_config = auth.jwt
        if self._external_config != auth.http:
            self._external = External(auth.http, self._clock) if auth.http is not None else None
            self._external_config = auth.http
        self._proxies = Networks(config.trusted_proxies)
        self._vouching = Networks(auth.proxy.addresses if auth.proxy is not None else ())
        self.logins.end_where(lambda login: self._user_of(login) is None)

    def configure(self, config: SignalingConfig) -> None:
        """Another configuration is in force from now on; what it takes away is gone at once."""
        if config != self._config:
            self._take(config)
            self.changed()

    def on_changed(self, callback: Callable[[], None]) -> None:
        """`callback` is called whenever somebody may have lost something: a login, a right, a link."""
        self._callbacks.append(callback)

    def changed(self) -> None:
        """Tells those who asked to be told."""
        for callback in self._callbacks:
            callback()

    def close(self) -> None:
        """Lets threads and files go."""
        self._passwords.close()
        self.audit.close()

    @property
    def wants_login(self) -> bool:
        """False when everybody may come in."""
        return self._config.auth.mode == "users"

    @property
    def vouched(self) -> bool:
        """Users without a password may come in: a reverse proxy or the external service knows them."""
        return self._config.auth.proxy is not None or self._config.auth.http is not None

    @property
    def embed(self) -> tuple[str, ...]:
        """Origins whose pages may show cameras."""
        return self._config.embed

    @property
    def loopback_names_only(self) -> bool:
        """Nothing is configured: requests must name this machine as loopback, or any page could ask.

        A name of somebody else that is made to resolve to 127.0.0.1 makes a browser believe that its page and
        this server are one site (DNS rebinding).
        """
        return self._config.auth.mode == "unset"

    # Who asks.

    async def identify(self, request: web.Request) -> Principal:
        """Who makes the request; raises Problem 401, or 503 when those who know cannot be asked."""
        return (await self.identified(request)).principal

    async def identified(self, request: web.Request) -> Identified:
        """The same, with the means."""
        if _is_local(request):
            return Identified(LOCAL, "socket")
        token = _bearer(request)
        if token is not None and (self.wants_login or token.startswith(links.PREFIX)):
            return Identified(await self._by_token(token, self.address(request)), "bearer")
        cookie = request.cookies.get(COOKIE)
        if cookie is not None:
            found = self._by_cookie(cookie)
            if found is not None:
                return Identified(found, "cookie")
        named = self._by_proxy(request)
        if named is not None:
            return Identified(named, "proxy")
        if self._shut:
            raise Problem(
                403,
                "no users are configured, and this server is reached from other machines: nobody may do "
                "anything here until one is (`cctv3 user add`)",
            )
        if not self.wants_login:
            return Identified(self._anonymous(_is_direct(request)), "none")
        detail = "log in, or send a token (Authorization: Bearer)"
        if cookie is not None:
            detail = "the login or the link is over; log in again"
        raise Problem(401, detail, headers=CHALLENGE)

    @property
    def _shut(self) -> bool:
        """Nothing is configured, which is for loopback only: the keeper lets it be nowhere else."""
        return self._config.auth.mode == "unset" and not self._loopback

    def _anonymous(self, direct: bool) -> Principal:
        """`direct`: somebody on this machine asks, as far as a request can tell."""
        configures = self._loopback and direct
        return Principal("anonymous", "anonymous", "admin", ("*",), configures=configures)

    async def _by_token(self, token: str, address: str) -> Principal:
        if token.startswith(links.PREFIX):
            link = self.links.find(token)
            if link is None:
                raise Problem(401, "the link has expired or was revoked", headers=CHALLENGE)
            return _of_link(link)
        if not token.isascii():
            raise Problem(401, "the token is not known", headers=CHALLENGE)
        if self._jwt is not None and (self._external is None or token.count(".") == 2):
            return await self._jwt.identify(token)
        if self._external is not None:
            vouched = await self._external.token(token, address)
            if vouched is not None:
                expires_at = self.now() + vouched.expires_in_s
                return Principal(
                    vouched.user,
                    "token",
                    vouched.role,
                    vouched.cameras,
                    self._external.credential,
                    expires_at,
                )
        raise Problem(401, "the token is not known", headers=CHALLENGE)

    def _by_cookie(self, cookie: str) -> Principal | None:
        if cookie.startswith(links.PREFIX):
            link = self.links.find(cookie)
            return _of_link(link) if link is not None else None
        login = self.logins.find(cookie)
        return self._user_of(login) if login is not None else None

    def _by_proxy(self, request: web.Request) -> Principal | None:
        proxy = self._config.auth.proxy
        if proxy is None or request.remote is None or request.remote not in self._vouching:
            return None
        names = request.headers.getall(proxy.header, [])
        if not names:
            return None
        # One of two lines would be the client's own.
        user = self._users.get(names[0]) if len(names) == 1 else None
        if user is None:
            raise Problem(403, "the reverse proxy names no user of the configuration (auth.users), or two")
        return _of_user(user, "proxy", None)

    def _user_of(self, login: Login) -> Principal | None:
        """What a login is good for now."""
        user = self._users.get(login.user)
        vouched = self._external is not None and login.fingerprint == self._external.credential
        if login.role is not None:
            # Who has been configured since has the rights of the configuration only.
            if user is not None or not vouched:
                return None
            return Principal(
                login.user, "user", login.role, login.cameras, f"login:{login.id}", login.expires_at
            )
        if user is None:
            return None
        if user.password is None:
            return _of_user(user, f"login:{login.id}", login.expires_at) if vouched else None
        if fingerprint(user.password) != login.fingerprint:
            return None
        return _of_user(user, f"login:{login.id}", login.expires_at)

    # What goes on.

    def watcher(self, principal: Principal, address: str) -> Watcher:
        """The principal as it rides along with a session."""
        return Watcher(
            principal.name,
            principal.kind,
            principal.role,
            principal.cameras,
            principal.credential,
            principal.expires_at,
            address,
        )

    def renew(self, watcher: Watcher) -> Principal | None:
        """What a watcher may now; None when they may not come in any more."""
        # A login that is used lives longer than it was first said to.
        ends_at = None if watcher.credential.startswith("login:") else watcher.expires_at
        if ends_at is not None and ends_at <= self.now():
            return None
        match watcher.kind:
            case "anonymous":
                # What plays or listens changes nothing of the configuration; requests are asked themselves.
                return None if self.wants_login or self._shut else self._anonymous(direct=True)
            case "link":
                link = self.links.get(watcher.credential.removeprefix("link:"))
                return _of_link(link) if link is not None else None
            case "token":
                valid = [each.credential for each in (self._jwt, self._external) if each is not None]
                if watcher.credential not in valid:
                    return None
                return Principal(
                    watcher.name,
                    "token",
                    watcher.role,
                    watcher.cameras,
                    watcher.credential,
                    watcher.expires_at,
                )
            case "user":
                return self._renewed_user(watcher)

    def _renewed_user(self, watcher: Watcher) -> Principal | None:
        if watcher.credential == LOCAL.credential:
            return LOCAL
        if watcher.credential == "proxy":
            user = self._users.get(watcher.name)
            configured = self._config.auth.proxy is not None
            return _of_user(user, "proxy", None) if user is not None and configured else None
        login = self.logins.get(watcher.credential.removeprefix("login:"))
        return self._user_of(login) if login is not None else None

    # Logging in and out.

    async def login(self, user: str, password: str, address: str) -> tuple[str, Login]:
        """The cookie's token and the login; raises Problem 401, 409, 429 or 503."""
        if not self.wants_login:
            raise Problem(409, "nobody has to log in here: the configuration names no users")
        wait_s = self._attempts.wait_s(address, self._clock.monotonic_s())
        if wait_s > 0:
            self.audit.record("login", None, address, result="limited", name=user[:64])
            raise Problem(429, "too many failed logins from this address", int(wait_s) + 1)
        self._attempts.began(address, self._clock.monotonic_s())
        try:
            begun = await self._checked(user, password, address)
        except Problem:  # nobody could look at the password: no wrong guess
            self._attempts.was_right(address, self._clock.monotonic_s())
            raise
        if begun is None:
            self.audit.record("login", None, address, result="refused", name=user[:64])
            raise Problem(401, "no such user, or the password is wrong", headers=CHALLENGE)
        self._attempts.was_right(address, self._clock.monotonic_s())
        self.audit.record("login", self._user_of(begun[1]), address)
        return begun

    async def _checked(self, user: str, password: str, address: str) -> tuple[str, Login] | None:
        known, service = self._users.get(user), self._external
        stored = known.password if known is not None else None
        right = await self._passwords.verify(stored, password)
        vouched = None
        if stored is None and service is not None:
            vouched = await service.login(user, password, address)
        # Either may have been changed meanwhile.
        if self._users.get(user) is not known or self._external is not service:
            return None
        if right and stored is not None:
            return self.logins.begin(user, fingerprint(stored))
        if vouched is None or service is None:
            return None
        if known is not None:  # the password is the service's, the rights are the configuration's
            return self.logins.begin(user, service.credential)
        return self.logins.begin(user, service.credential, vouched.role, vouched.cameras)

    def logout(self, cookie: str, address: str) -> None:
        """Ends the login of a cookie and all that plays by it."""
        login = self.logins.find(cookie)
        if login is not None:
            self.audit.record("logout", self._user_of(login), address)
            self.logins.end(login.id)
            self.changed()

    def now(self) -> float:
        """UTC seconds since 1970."""
        return self._clock.utc_ns() / 1e9

    # Where from.

    def client(self, request: web.Request) -> Client:
        """The client as the trusted proxies describe it."""
        return networks.client(request.remote or "", request.headers, self._proxies)

    def is_proxy(self, address: str) -> bool:
        """True for an address that stands for many clients: a trusted proxy's."""
        return address in self._proxies

    def address(self, request: web.Request) -> str:
        """The client's address; `local` over the unix socket."""
        if _is_local(request):
            return "local"
        found = self.client(request)
        if self.is_proxy(request.remote or ""):
            self._say_unread(networks.unread(request.headers, found))
        return found.address

    def _say_unread(self, names: list[str]) -> None:
        now_s = self._clock.monotonic_s()
        if names and now_s >= self._unread_again_s:
            self._unread_again_s = now_s + UNREAD_EVERY_S
            log.warning("! a trusted proxy sends what is not believed in %s", ", ".join(names))

    def base_url(self, request: web.Request) -> str:
        """`scheme://host/prefix` as the client sees this server, without a slash at the end."""
        client = self.client(request)
        return f"{client.scheme or request.scheme}://{client.host or request.host}{client.prefix}"


def _is_local(request: web.Request) -> bool:
    transport: asyncio.BaseTransport | None = request.transport
    return transport is not None and isinstance(transport.get_extra_info("sockname"), str)


def _is_direct(request: web.Request) -> bool:
    """No page of somebody else's by a name that resolves to this machine, and nobody behind a proxy on it."""
    return networks.names_loopback(request.host) and not networks.forwarded(request.headers)


def _bearer(request: web.Request) -> str | None:
    """The token of the Authorization header (RFC 6750 section 2.1), of a WebSocket; a link's in the query."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    # Browsers let a page say nothing with a WebSocket but protocols (RFC 6455 section 11.3.4), and those are
    # not logged as addresses are.
    protocol, _, said = request.headers.get("Sec-WebSocket-Protocol", "").partition(",")
    if protocol == SOCKET_PROTOCOL and said.strip().startswith("bearer."):
        return unquote(said.strip().removeprefix("bearer."))
    token = request.query.get("token", "")
    return token if token.startswith(links.PREFIX) else None


def _of_user(user: UserConfig, credential: str, expires_at: float | None) -> Principal:
    return Principal(user.name, "user", user.role, user.cameras, credential, expires_at)


def _of_link(link: Link) -> Principal:
    # A camera's name holds none of the characters that mean something in a pattern.
    return Principal(f"link-{link.id}", "link", "viewer", (link.camera,), f"link:{link.id}", link.expires_at)
