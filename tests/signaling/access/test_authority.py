"""Who may what, now and while it plays: every credential, and its end."""

import base64
import dataclasses
import time
from collections.abc import AsyncIterator
from pathlib import Path

import jwt as pyjwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from access.support import ANNA, CHEAP, EVERYBODY, HASH, OLGA, PASSWORD, VERA, authority, configured, serving
from common.access_config import AuthConfig, HttpAuthConfig, JwtConfig, ProxyAuthConfig, SignalingConfig
from common.messages import ANYBODY, Watcher
from signaling.access.authority import LOCAL, Authority
from signaling.access.principal import Principal
from signaling.problems import Problem

SECRET = "x" * 40


def watching(own: Authority, principal: Principal | None) -> Watcher:
    assert principal is not None
    return own.watcher(principal, "::1")


async def logged_in(own: Authority, user: str) -> Watcher:
    token, _ = await own.login(user, PASSWORD, "::1")
    return watching(own, own._by_cookie(token))


async def test_a_login_ends_with_what_it_rests_on(tmp_path: Path) -> None:
    own = authority(tmp_path, configured(*EVERYBODY))
    told: list[str] = []
    own.on_changed(lambda: told.append("changed"))
    anna, vera = await logged_in(own, "anna"), await logged_in(own, "vera")
    assert own.renew(anna) is not None and not told
    # What a user may is what is configured now.
    own.configure(configured(ANNA, dataclasses.replace(VERA, cameras=("yard",))))
    assert told == ["changed"]
    now = own.renew(vera)
    assert now is not None and now.cameras == ("yard",) and not now.may_see("front")
    own.configure(configured(dataclasses.replace(ANNA, password=CHEAP.hash("another")), VERA))
    assert own.renew(anna) is None and own.renew(vera) is not None
    own.configure(configured(ANNA))
    assert own.renew(vera) is None and len(told) == 3
    own.configure(configured(ANNA))
    assert len(told) == 3
    own.close()


async def test_after_a_restart_logins_hold(tmp_path: Path) -> None:
    own = authority(tmp_path, configured(*EVERYBODY))
    vera = await logged_in(own, "vera")
    own.close()
    again = authority(tmp_path, configured(*EVERYBODY))
    assert again.renew(vera) is not None
    again.close()
    changed = authority(tmp_path, configured(ANNA))
    assert changed.renew(vera) is None
    changed.close()


async def test_logging_out_ends_what_plays(tmp_path: Path) -> None:
    own = authority(tmp_path, configured(*EVERYBODY))
    told: list[str] = []
    own.on_changed(lambda: told.append("changed"))
    token, _ = await own.login("vera", PASSWORD, "::1")
    vera = watching(own, own._by_cookie(token))
    other = await logged_in(own, "vera")
    own.logout(token, "::1")
    assert told == ["changed"] and own.renew(vera) is None and own.renew(other) is not None
    own.close()


async def test_links(tmp_path: Path) -> None:
    own = authority(tmp_path, configured(*EVERYBODY))
    token, link = own.links.create("front", 60, "anna", "")
    watcher = watching(own, await own._by_token(token, "::1"))
    may = own.renew(watcher)
    assert may is not None and may.may_see("front") and not may.may_see("front2") and may.role == "viewer"
    await own._clock.advance(61)  # type: ignore[attr-defined]
    assert own.renew(watcher) is None
    token, link = own.links.create("front", 60, "anna", "")
    watcher = watching(own, await own._by_token(token, "::1"))
    own.links.revoke(link.id)
    assert own.renew(watcher) is None
    with pytest.raises(Problem):
        await own._by_token(token, "::1")
    own.close()


async def test_tokens_end_with_their_key_and_time(tmp_path: Path) -> None:
    jwt = JwtConfig(("HS256",), "cctv3", key=SECRET)
    own = authority(tmp_path, configured(ANNA, jwt=jwt))
    claims = {"sub": "tv", "aud": "cctv3", "exp": int(time.time()) + 10**9, "cameras": ["*"]}
    principal = await own._by_token(pyjwt.encode(claims, SECRET, "HS256"), "::1")
    watcher = watching(own, principal)
    assert own.renew(watcher) == principal
    assert own.renew(dataclasses.replace(watcher, expires_at=own.now() - 1)) is None
    own.configure(configured(ANNA, jwt=dataclasses.replace(jwt, key=SECRET + "y")))
    assert own.renew(watcher) is None
    own.close()


async def test_without_users_everybody_may_come(tmp_path: Path) -> None:
    own = authority(tmp_path, SignalingConfig())
    anybody = own.renew(ANYBODY)
    assert anybody is not None and anybody.may("admin")
    own.configure(configured(ANNA))
    assert own.renew(ANYBODY) is None
    own.configure(SignalingConfig(auth=AuthConfig("none")))
    assert own.renew(ANYBODY) is not None
    own.close()
    beyond = authority(tmp_path, SignalingConfig(auth=AuthConfig("none")), loopback=False)
    anybody = beyond.renew(ANYBODY)
    assert anybody is not None and anybody.may("operator") and not anybody.may("admin")
    with pytest.raises(Problem) as raised:
        await beyond.login("anna", PASSWORD, "::1")
    assert raised.value.status == 409
    beyond.close()


async def test_where_others_reach_it_nothing_is_had_without_a_word(tmp_path: Path) -> None:
    own = authority(tmp_path, configured(ANNA), loopback=False)
    own.configure(SignalingConfig(auth=AuthConfig("none")))
    assert own.renew(ANYBODY) is not None
    own.configure(SignalingConfig())
    assert own.renew(ANYBODY) is None
    own.close()


async def test_guessing_is_slow_and_harms_nobody_else(tmp_path: Path) -> None:
    own = authority(tmp_path, configured(*EVERYBODY))
    statuses = []
    for number in range(1000):
        with pytest.raises(Problem) as raised:
            await own.login(("vera", "nobody")[number % 2], f"guess{number}", "198.51.100.1")
        statuses.append(raised.value.status)
    assert statuses.count(401) == 8 and statuses.count(429) == 992
    assert raised.value.headers["Retry-After"]
    with pytest.raises(Problem):
        await own.login("vera", PASSWORD, "198.51.100.1")
    assert (await own.login("vera", PASSWORD, "198.51.100.2"))[1].user == "vera"
    audit = (tmp_path / "state" / "audit.log").read_text()
    assert "limited" in audit and "refused" in audit and PASSWORD not in audit and "guess" not in audit
    own.close()


async def test_both_refusals_read_the_same(tmp_path: Path) -> None:
    own = authority(
        tmp_path, configured(*EVERYBODY, dataclasses.replace(OLGA, name="proxied", password=None))
    )
    said = set()
    for user in ("vera", "nobody", "", "proxied"):
        with pytest.raises(Problem) as raised:
            await own.login(user, "wrong", "::1")
        said.add((raised.value.status, raised.value.detail))
    assert len(said) == 1
    own.close()


async def test_a_proxy_that_vouches(tmp_path: Path) -> None:
    proxy = ProxyAuthConfig("X-Remote-User", ("127.0.0.1",))
    own = authority(tmp_path, configured(*EVERYBODY, proxy=proxy))
    async with serving(own) as client:
        for user, status in (("vera", 200), ("mallory", 403), ("", 403)):
            async with client.get("/api/v1/me", headers={"X-Remote-User": user}) as response:
                assert response.status == status, user
        twice = [("X-Remote-User", "anna"), ("X-Remote-User", "vera")]
        async with client.get("/api/v1/me", headers=twice) as response:
            assert response.status == 403
        own.configure(configured(*EVERYBODY, proxy=dataclasses.replace(proxy, addresses=("10.0.0.1",))))
        async with client.get("/api/v1/me", headers={"X-Remote-User": "vera"}) as response:
            assert response.status == 401
    vera = Watcher("vera", "user", "viewer", ("*",), "proxy", None, "::1")
    assert own.renew(vera) is not None
    own.configure(configured(*EVERYBODY))
    assert own.renew(vera) is None


def test_local_may_all(tmp_path: Path) -> None:
    own = authority(tmp_path, configured(*EVERYBODY))
    assert own.renew(watching(own, LOCAL)) == LOCAL
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert HASH not in repr(own._config)
    own.close()


@pytest.fixture
async def service() -> AsyncIterator[tuple[HttpAuthConfig, list[int]]]:
    """Vouches for every password but "wrong", with the status of the list."""
    status = [200]

    async def answer(request: web.Request) -> web.Response:
        right = (await request.json()).get("password") != "wrong"
        content = {"user": "eva", "role": "operator", "cameras": ["*"]}
        return web.json_response(content, status=status[0] if right else 403)

    app = web.Application()
    app.add_routes([web.post("/", answer)])
    async with TestServer(app) as server:
        yield HttpAuthConfig(str(server.make_url("/"))), status


async def test_whom_the_service_vouches_for(
    tmp_path: Path, service: tuple[HttpAuthConfig, list[int]]
) -> None:
    http, _ = service
    walter = dataclasses.replace(VERA, name="walter", password=None)
    own = authority(tmp_path, configured(ANNA, walter, http=http))
    eva, here = await logged_in(own, "eva"), await logged_in(own, "walter")
    assert (eva.role, eva.cameras) == ("operator", ("*",))
    # The service knows the password, the configuration the rights.
    assert (here.role, here.cameras) == ("viewer", ("front*",))
    for user, password in (("anna", "anything"), ("eva", "wrong"), ("walter", "wrong")):
        with pytest.raises(Problem) as raised:
            await own.login(user, password, "::1")
        assert raised.value.status == 401
    own.configure(configured(ANNA, walter, dataclasses.replace(VERA, name="eva"), http=http))
    assert own.renew(eva) is None and own.renew(here) is not None
    own.configure(configured(ANNA, walter))
    assert own.renew(here) is None
    own.close()


async def test_a_service_that_fails_is_no_wrong_guess(
    tmp_path: Path, service: tuple[HttpAuthConfig, list[int]]
) -> None:
    http, status = service
    own = authority(tmp_path, configured(ANNA, http=http))
    status[0] = 500
    for _ in range(9):
        with pytest.raises(Problem) as raised:
            await own.login("eva", PASSWORD, "::1")
        assert raised.value.status == 503
    status[0] = 200
    assert (await own.login("eva", PASSWORD, "::1"))[1].role == "operator"
    own.close()


async def test_fetched_keys_outlive_a_change_of_the_users(tmp_path: Path) -> None:
    asked: list[int] = []

    async def answer(_request: web.Request) -> web.Response:
        asked.append(1)
        key = base64.urlsafe_b64encode(SECRET.encode()).rstrip(b"=").decode()
        return web.json_response({"keys": [{"kty": "oct", "alg": "HS256", "kid": "1", "k": key}]})

    app = web.Application()
    app.add_routes([web.get("/", answer)])
    claims = {"sub": "t", "aud": "cctv3", "exp": int(time.time()) + 60, "role": "admin"}
    token = pyjwt.encode(claims, SECRET, "HS256", headers={"kid": "1"})
    async with TestServer(app) as server:
        jwt = JwtConfig(("HS256",), "cctv3", jwks=str(server.make_url("/")))
        own = authority(tmp_path, configured(ANNA, jwt=jwt))
        assert (await own._by_token(token, "::1")).role == "admin"
        own.configure(configured(ANNA, VERA, jwt=jwt))
        assert (await own._by_token(token, "::1")).role == "admin"
        assert len(asked) == 1
        own.close()


async def test_what_a_proxy_garbles_is_said_once_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = dataclasses.replace(configured(ANNA), trusted_proxies=("127.0.0.1",))
    own = authority(tmp_path, config)
    async with serving(own) as client:
        for _ in range(3):
            headers = {"X-Forwarded-For": "<script>", "X-Forwarded-Host": "e vil"}
            async with client.get("/api/v1/me", headers=headers) as response:
                assert response.status == 401 and "script" not in await response.text()
    said = [each.getMessage() for each in caplog.records if "trusted proxy" in each.getMessage()]
    assert said == ["! a trusted proxy sends what is not believed in X-Forwarded-For, X-Forwarded-Host"]
