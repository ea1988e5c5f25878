"""The pages: complete, relative, revalidated, and fit for the strict policy."""

import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from signaling.pages import FOLDER, PAGES_PUBLIC, Pages

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    app = web.Application()
    app.add_routes(Pages().routes())
    async with TestClient(TestServer(app)) as made:
        yield made


@pytest.mark.parametrize("path", sorted(PAGES_PUBLIC))
async def test_each_is_served_and_revalidated(client: Client, path: str) -> None:
    async with client.get(path) as response:
        assert response.status == 200 and await response.read()
        tag = response.headers["ETag"]
        assert response.headers["Cache-Control"] == "no-cache"
    async with client.get(path, headers={"If-None-Match": tag}) as response:
        assert response.status == 304 and not await response.read()
    async with client.head(path) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    "path", ["/../app.py", "/%2e%2e/app.py", "/..%2fapp.py", "/web/../../x", "/.//index.html"]
)
async def test_no_request_names_a_file(client: Client, path: str) -> None:
    from yarl import URL

    async with client.get(URL(path, encoded=True)) as response:
        assert response.status == 404


@pytest.mark.parametrize("page", ["index.html", "login.html"])
def test_what_a_page_refers_to_is_there_and_relative(page: str) -> None:
    text = (FOLDER / page).read_text()
    for link in re.findall(r'(?:src|href)="([^"]+)"', text):
        assert link == "./" or f"/{link}" in PAGES_PUBLIC, link


def test_nothing_breaks_the_policy() -> None:
    for path in FOLDER.glob("*.html"):
        text = path.read_text()
        assert not re.search(r"\son[a-z]+=|\sstyle=|<style|javascript:", text), path
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text)), path
    for path in FOLDER.glob("*.js"):
        text = path.read_text()
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            path
        )
        for imported in re.findall(r'from "([^"]+)"', text):
            assert (FOLDER / imported).exists() and imported.startswith("./"), imported
        assert not re.search(r"""["'`]/(?:api|ws|whep)""", text), (
            f"{path}: an absolute path breaks behind a prefix"
        )
