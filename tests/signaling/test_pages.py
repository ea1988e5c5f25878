"""The pages: complete, relative, revalidated, fit for the strict policy, framed where it is configured."""

import dataclasses
import re
import tomllib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
from access.support import authority
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from common.access_config import SignalingConfig
from signaling.access.authority import Authority
from signaling.pages import ELEMENT, EMBED, FOLDER, PAGES_PUBLIC, Pages
from tests.support.processes import PROJECT

Client = TestClient[web.Request, web.Application]
INTRANET = "https://intranet.example"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Authority]:
    made = authority(tmp_path, SignalingConfig())
    yield made
    made.close()


@pytest.fixture
async def client(own: Authority) -> AsyncIterator[Client]:
    app = web.Application()
    app.add_routes(Pages(own).routes())
    async with TestClient(TestServer(app)) as made:
        yield made


def served(file: Path) -> str:
    """A path under which browsers see a file."""
    name = file.relative_to(FOLDER).as_posix()
    return EMBED if name == "embed.html" else f"/{name}"


@pytest.mark.parametrize("path", sorted(PAGES_PUBLIC))
async def test_each_is_served_and_revalidated(client: Client, path: str) -> None:
    path = path.format(camera="front")
    async with client.get(path) as response:
        assert response.status == 200 and await response.read()
        tag = response.headers["ETag"]
        assert response.headers["Cache-Control"] == "no-cache"
    async with client.get(path, headers={"If-None-Match": tag}) as response:
        assert response.status == 304 and not await response.read()
    async with client.head(path) as response:
        assert response.status == 200


async def test_pages_have_names_without_a_suffix(client: Client) -> None:
    for path, file in (("/", "index.html"), ("/login", "login.html"), ("/embed/front", "embed.html")):
        async with client.get(path) as response:
            assert await response.read() == (FOLDER / file).read_bytes(), path
            assert response.headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    "path",
    [
        "/../app.py",
        "/%2e%2e/app.py",
        "/..%2fapp.py",
        "/web/../../x",
        "/.//index.html",
        "/media",
        "/media/",
        "/media/../../app.py",
        "/embed.html",
        "/embed",
        "/embed/",
        "/embed/%2e%2e",
        "/embed/a%2fb",
        "/embed/a%20b",
        "/embed/-front",
        f"/embed/{'a' * 49}",
    ],
)
async def test_no_request_names_a_file(client: Client, path: str) -> None:
    from yarl import URL

    async with client.get(URL(path, encoded=True)) as response:
        assert response.status == 404


async def test_the_page_of_a_camera_says_who_may_frame_it(client: Client, own: Authority) -> None:
    async def policy(path: str) -> tuple[str, str]:
        async with client.get(path) as response:
            return response.headers.get("Content-Security-Policy", ""), response.headers["ETag"]

    framed, tag = await policy("/embed/front")
    assert framed.startswith("default-src 'self'; ") and framed.endswith("; frame-ancestors 'self'")
    own.configure(dataclasses.replace(SignalingConfig(), embed=(INTRANET, "http://localhost:8081")))
    # Headers of this answer take the place of those that the browser knows (RFC 9111 section 3.2).
    async with client.get("/embed/front", headers={"If-None-Match": tag}) as response:
        assert response.status == 304
        assert response.headers["Content-Security-Policy"] == f"{framed} {INTRANET} http://localhost:8081"
    assert (await policy("/embed/no-such-camera")) == (await policy("/embed/front"))
    assert [path for path in sorted(PAGES_PUBLIC - {EMBED}) if (await policy(path))[0]] == []


async def test_one_module_is_for_all_sites(client: Client) -> None:
    for path in PAGES_PUBLIC:
        async with client.get(path.format(camera="front")) as response:
            shared = [
                response.headers.get(name)
                for name in ("Access-Control-Allow-Origin", "Cross-Origin-Resource-Policy")
            ]
        assert shared == (["*", "cross-origin"] if path == ELEMENT else [None, None]), path


@pytest.mark.parametrize("page", sorted(FOLDER.rglob("*.html")), ids=lambda page: page.name)
def test_what_a_page_refers_to_is_there_and_relative(page: Path) -> None:
    text = page.read_text()
    assert '<html lang="' in text and "<title>" in text
    for link in re.findall(r'(?:src|href)="([^"#]+)', text):
        assert not re.match(r"/|[a-z]+:", link), f"{link}: breaks behind a prefix"
        assert urljoin(served(page), link) in PAGES_PUBLIC, link


def test_nothing_breaks_the_policy() -> None:
    for path in FOLDER.rglob("*.html"):
        text = path.read_text()
        assert not re.search(r"\son[a-z]+=|\sstyle=|<style|javascript:", text), path
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text)), path
    for path in FOLDER.rglob("*.js"):
        text = path.read_text()
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            path
        )
        for imported in re.findall(r'(?:\bfrom |\bimport ?\(?)"([^"]+)"', text):
            assert imported.startswith(("./", "../")), (path, imported)
            assert urljoin(served(path), imported) in PAGES_PUBLIC, (path, imported)
        assert not re.search(r"""["'`]/(?:api|ws|whep)""", text), (
            f"{path}: an absolute path breaks behind a prefix"
        )


def test_an_installed_package_has_them() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["signaling"]
    packed = {path for pattern in patterns for path in FOLDER.parent.glob(pattern)}
    assert {path for path in FOLDER.rglob("*") if path.is_file()} <= packed
