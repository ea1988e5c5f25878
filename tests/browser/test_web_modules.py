"""The page's pure modules, each imported by Chromium alone: no server, no camera."""

import contextlib
from collections.abc import AsyncIterator
from itertools import product
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Page

from tests.support.browser import chromium
from tests.support.processes import PROJECT

pytestmark = [pytest.mark.peers, pytest.mark.asyncio(loop_scope="module")]

WEB = PROJECT / "signaling" / "web"
GAP = 4
CHOICES = [1, 4, 9, 16, 25, 36, 49, 64]
SCREENS = [(1440, 852), (1920, 1032), (3840, 2112), (1024, 700), (640, 360)]
PHONE = (360, 600)


class Modules:
    """A blank page that the modules are imported into."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def run(self, module: str, body: str, *given: Any) -> Any:
        """What a function with this body returns; `m` is the module, `given` a list."""
        return await self.page.evaluate(
            f"async (given) => {{ const m = await import('/{module}'); {body} }}", list(given)
        )

    @contextlib.asynccontextmanager
    async def asked(self, search: str) -> AsyncIterator["Modules"]:
        """The same in a tab of its own whose address asks for something."""
        browser = self.page.context.browser
        assert browser is not None
        page = await browser.new_page()
        await page.goto(f"{self.page.url}{search}")
        yield Modules(page)
        await page.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def modules() -> AsyncIterator[Modules]:
    async def blank(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>blank</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", blank)
    app.router.add_static("/", WEB)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with chromium() as browser:
            page = await browser.new_page(viewport={"width": 800, "height": 600})
            await page.goto(site.name)
            yield Modules(page)
    finally:
        await runner.cleanup()


def picture_width(count: int, columns: int, width: float, height: float) -> float:
    """Of the largest 16:9 picture in each of `count` equal tiles."""
    rows = -(-count // columns)
    tile = ((width - GAP * (columns - 1)) / columns, (height - GAP * (rows - 1)) / rows)
    return min(tile[0], tile[1] * 16 / 9)


async def grids(modules: Modules, cases: list[tuple[int, Any, int, int]]) -> list[dict[str, int]]:
    found = await modules.run("wall/grid.js", "return given[0].map((each) => m.gridOf(...each));", cases)
    assert isinstance(found, list)
    return found


async def test_all_tiles_fit_as_large_as_they_can(modules: Modules) -> None:
    cases = [(count, "auto", *screen) for count, screen in product(range(65), SCREENS)]
    for (count, _, width, height), grid in zip(cases, await grids(modules, cases), strict=True):
        columns, row = grid["columns"], grid["rowPx"]
        tiles = max(count, 1)
        best = max(picture_width(tiles, each, width, height) for each in range(1, tiles + 1))
        rows = -(-tiles // columns)
        if best >= 150:
            assert rows * row + GAP * (rows - 1) <= height
            assert picture_width(tiles, columns, width, height) == pytest.approx(best)
        else:  # it scrolls
            across = (width - GAP * (columns - 1)) / columns
            assert across >= 150 > (width - GAP * columns) / (columns + 1)
            assert row == pytest.approx(across * 9 / 16, abs=1)
    found = await grids(modules, [(count, "auto", 1440, 852) for count in (1, 2, 4, 9, 16)])
    assert [grid["columns"] for grid in found] == [1, 1, 2, 3, 4]  # two are larger above each other


async def test_a_grid_shows_as_many_at_once_as_it_is_called(modules: Modules) -> None:
    assert await modules.run("wall/grid.js", "return m.CHOICES;") == CHOICES
    cases = [(count, choice, *screen) for count, choice, screen in product((1, 9, 64), CHOICES, SCREENS)]
    for (_, choice, _, height), grid in zip(cases, await grids(modules, cases), strict=True):
        side = grid["columns"]
        assert side * side >= choice > (side - 1) ** 2
        rows = -(-choice // side)
        assert height - rows < rows * grid["rowPx"] + GAP * (rows - 1) <= height


async def test_on_a_phone_tiles_stand_below_each_other(modules: Modules) -> None:
    cases = [
        (count, choice, *PHONE) for count, choice in [(1, "auto"), (4, "auto"), (5, "auto"), (9, 9), (9, 4)]
    ]
    found = await grids(modules, cases)
    assert [grid["columns"] for grid in found] == [1, 1, 2, 2, 1]
    assert [grid["rowPx"] for grid in found] == [202, 202, 100, 100, 202]
    assert (await grids(modules, [(9, 1, *PHONE)])) == [{"columns": 1, "rowPx": 600}]


ALL = {"cameras": None, "order": [], "grid": "auto"}
FOUR = {"cameras": ["yard", "front"], "order": [], "grid": 4}


@pytest.mark.parametrize(
    ("search", "asked"),
    [
        ("", {"name": None, "layout": None, "kiosk": False}),
        ("?kiosk", {"name": None, "layout": None, "kiosk": True}),
        ("?layout=Tor+1&kiosk=", {"name": "Tor 1", "layout": FOUR, "kiosk": True}),
        ("?layout=nosuch", {"name": "nosuch", "layout": None, "kiosk": False}),
        ("?layout=constructor", {"name": "constructor", "layout": None, "kiosk": False}),
        ("?cameras=yard,front&grid=4", {"name": None, "layout": FOUR, "kiosk": False}),
        ("?cameras=yard,front,yard,&grid=4", {"name": None, "layout": FOUR, "kiosk": False}),
        ("?grid=5&cameras=yard", {"name": None, "layout": {**ALL, "cameras": ["yard"]}, "kiosk": False}),
        ("?grid=9", {"name": None, "layout": {**ALL, "grid": 9}, "kiosk": False}),
        ("?cameras=", {"name": None, "layout": {**ALL, "cameras": []}, "kiosk": False}),
    ],
)
async def test_what_an_address_asks_for(modules: Modules, search: str, asked: dict[str, Any]) -> None:
    body = "localStorage.clear(); m.save('Tor 1', given[1]); return m.fromAddress(given[0]);"
    assert await modules.run("wall/layouts.js", body, search, FOUR) == asked


async def test_an_address_says_a_layout_whole(modules: Modules) -> None:
    for layout, shown, search in (
        (ALL, ["a", "b"], "?grid=auto"),
        ({**ALL, "grid": 16}, ["a"], "?grid=16"),
        ({**ALL, "order": ["b", "a"]}, ["b", "a"], "?cameras=b,a&grid=auto"),
        (FOUR, ["yard", "front"], "?cameras=yard,front&grid=4"),
    ):
        body = "return [m.toAddress(given[0], given[1], false), m.toAddress(given[0], given[1], true)];"
        plain, kiosk = await modules.run("wall/layouts.js", body, layout, shown)
        assert (plain, kiosk) == (search, f"{search}&kiosk=")
        asked = await modules.run("wall/layouts.js", "return m.fromAddress(given[0]);", kiosk)
        assert asked["kiosk"] and asked["layout"]["grid"] == layout["grid"]
        assert asked["layout"]["cameras"] in (shown, None)


async def test_layouts_are_kept_by_name_and_forgotten(modules: Modules) -> None:
    body = """localStorage.clear();
        m.save('one', given[0]); m.save('__proto__', given[0]); m.save('two', given[1]); m.forget('one');
        m.keepWall(given[1]);
        return [[...m.saved()], m.lastWall()];"""
    kept, last = await modules.run("wall/layouts.js", body, FOUR, {**ALL, "order": ["b"], "grid": 9})
    assert ["two", {**ALL, "order": ["b"], "grid": 9}] in kept and "one" not in dict(kept)
    assert last == {**ALL, "order": ["b"], "grid": 9}


@pytest.mark.parametrize(
    "kept", ["", "{", "null", "7", "[]", '{"cameras": {"a": 1}, "order": "a", "grid": 3}']
)
async def test_what_somebody_else_keeps_there_does_no_harm(modules: Modules, kept: str) -> None:
    body = """for (const key of ['cctv3.layouts', 'cctv3.wall']) localStorage.setItem(key, given[0]);
        return [m.lastWall(), [...m.saved().values()].length];"""
    last, _ = await modules.run("wall/layouts.js", body, kept)
    assert last == ALL


@pytest.mark.parametrize(
    ("layout", "available", "shown"),
    [
        (ALL, ["a", "b", "c"], ["a", "b", "c"]),
        ({**ALL, "order": ["c", "a"]}, ["a", "b", "c"], ["c", "a", "b"]),
        ({**ALL, "order": ["gone", "b"]}, ["a", "b"], ["b", "a"]),
        (FOUR, ["a", "front"], ["yard", "front"]),
    ],
)
async def test_which_cameras_are_shown(
    modules: Modules, layout: dict[str, Any], available: list[str], shown: list[str]
) -> None:
    assert await modules.run("wall/layouts.js", "return m.arranged(...given);", layout, available) == shown


PLAYING = {
    "phase": "playing",
    "session": "s",
    "problem": "",
    "problemStatus": 0,
    "problemWaitMs": 0,
    "hasPicture": True,
    "stillMs": 40,
    "pictureMs": 40,
    "countedMs": 0,
    "reconnects": 0,
    "retryAt": 0,
}
FIRST = {**PLAYING, "stillMs": None, "hasPicture": False}
STILL = {**PLAYING, "stillMs": 1300}
WAITING = {**STILL, "phase": "waiting", "session": None, "hasPicture": False}
RELEASED = {**WAITING, "phase": "released", "stillMs": 100}
LIVE = {"state": "live", "error": None}


@pytest.mark.parametrize(
    ("player", "camera", "answers", "kind"),
    [
        (PLAYING, LIVE, True, None),
        (PLAYING, LIVE, False, None),  # the server away is no reason to hide what plays
        (PLAYING, {"state": "stalled"}, True, None),
        ({**PLAYING, "phase": "connecting"}, LIVE, True, None),
        (STILL, LIVE, True, "frozen"),
        ({**STILL, "reconnects": 3}, LIVE, True, "frozen"),  # this session has shown some
        (STILL, LIVE, False, "away"),
        ({**STILL, "pictureMs": 1000}, LIVE, True, None),  # a picture a second
        ({**STILL, "pictureMs": 1000, "stillMs": 3100}, LIVE, True, "frozen"),
        ({**STILL, "countedMs": 2000}, LIVE, True, None),  # nobody tells of new ones, they are counted
        ({**STILL, "countedMs": 2000, "stillMs": 3100}, LIVE, True, "frozen"),
        (STILL, {"state": "stalled"}, True, "stalled"),
        (STILL, {"state": "backing_off"}, True, "offline"),
        (STILL, {"state": "failed"}, True, "refused"),
        (STILL, {"state": "down"}, True, "down"),
        (STILL, {"state": "connecting"}, True, "reconnecting"),
        (STILL, None, True, "gone"),
        (FIRST, LIVE, True, "connecting"),
        (FIRST, LIVE, None, "connecting"),
        (FIRST, {"state": "idle"}, True, "waking"),
        (FIRST, {"state": "connecting"}, True, "waking"),
        (FIRST, {"state": "backing_off"}, True, "offline"),
        ({**FIRST, "reconnects": 1}, LIVE, True, "reconnecting"),
        (WAITING, LIVE, True, "reconnecting"),
        (WAITING, LIVE, False, "away"),
        ({**WAITING, "problemStatus": 401}, LIVE, True, "login"),
        ({**WAITING, "problemStatus": 403}, LIVE, True, "forbidden"),
        ({**WAITING, "problemStatus": 404}, LIVE, True, "gone"),
        ({**WAITING, "problemStatus": 406}, LIVE, True, "unsupported"),
        ({**WAITING, "problemStatus": 503, "problemWaitMs": 5000}, LIVE, True, "full"),
        ({**WAITING, "problemStatus": 503, "problemWaitMs": 1000}, LIVE, True, "reconnecting"),
        ({**WAITING, "problemStatus": 503, "problemWaitMs": 5000}, {"state": "down"}, True, "down"),
        ({**STILL, "problemStatus": 503}, LIVE, True, "frozen"),
        (RELEASED, LIVE, True, "released"),
        (RELEASED, LIVE, False, "released"),
        ({**WAITING, "phase": "ended"}, LIVE, True, "ended"),
        ({**WAITING, "phase": "ended"}, None, True, "gone"),
    ],
)
async def test_why_a_picture_is_not_live(
    modules: Modules,
    player: dict[str, Any],
    camera: dict[str, Any] | None,
    answers: bool | None,
    kind: str | None,
) -> None:
    page = {"serverAnswers": answers, "isStranger": False}
    found = await modules.run("tile/verdict.js", "return m.verdict(...given);", player, camera, page)
    assert (found and found["kind"]) == kind
    if found:
        assert found["old"] == (player["stillMs"] is not None)


async def test_whom_the_server_does_not_know_is_told_to_log_in(modules: Modules) -> None:
    body = """const page = { serverAnswers: true, isStranger: true };
        return given.map((player) => m.verdict(player, null, page)?.kind ?? null);"""
    players = [FIRST, WAITING, {**WAITING, "phase": "ended"}, PLAYING]
    assert await modules.run("tile/verdict.js", body, *players) == ["login", "login", "login", None]


async def test_a_verdict_says_what_is_said_and_when_it_is_tried_again(modules: Modules) -> None:
    body = """const [player, camera, inMs] = given;
        const page = { serverAnswers: true, isStranger: false };
        return m.verdict({ ...player, retryAt: performance.now() + inMs }, camera, page);"""
    waiting = {**WAITING, "problem": "no room", "problemStatus": 503}
    for camera, in_ms, detail in ((LIVE, 5000, "no room"), ({"state": "failed", "error": "401"}, 200, "401")):
        found = await modules.run("tile/verdict.js", body, waiting, camera, in_ms)
        assert found["detail"] == detail
        assert found["retryMs"] == (pytest.approx(5000, abs=200) if in_ms > 1500 else 0)


async def test_capture_times_are_carried_on_from_the_last_that_was_announced(modules: Modules) -> None:
    body = """const clock = new m.CaptureClock();
        const found = [clock.utcMs(7), clock.utcMs(undefined)];
        for (const [sources, timestamp] of given) {
            clock.note(sources);
            found.push(clock.utcMs(timestamp));
        }
        return found;"""
    ntp = 2_208_988_800_000
    at = {"rtpTimestamp": 2**32 - 9000, "captureTimestamp": 1_000_000 + ntp}
    assert await modules.run(
        "media/capture_clock.js",
        body,
        [[], 5],
        [[{"rtpTimestamp": 4}], 5],  # nothing is announced
        [[at], 2**32 - 9000],
        [[], 2**32 - 4500],
        [[], 4500],  # it wraps
        [[], 2**32 - 18000],  # an earlier one
        [[{**at, "captureTimestamp": 2_000_000 + ntp}], 0],
    ) == [None, None, None, None, 1_000_000, 1_000_050, 1_000_150, 999_900, 2_000_100]


async def test_turns_are_few_and_go_to_the_urgent_first(modules: Modules) -> None:
    body = """const turns = new m.Turns(2);
        const began = [];
        const ends = {};
        const ask = (name, urgent) => turns.take(() => urgent).then((end) => {
            began.push(name);
            ends[name] = end;
        });
        const settle = () => new Promise((resolve) => setTimeout(resolve, 5));
        for (const name of ['a', 'b', 'c', 'd']) ask(name, false);
        ask('e', true);
        const seen = [];
        const look = async () => { await settle(); seen.push(began.join('')); };
        await look();
        ends.a(); ends.a();
        await look();
        ends.b();
        await look();
        ends.e(); ends.c();
        await look();
        ask('f', false); ask('g', false); ask('h', false);
        await look();
        return seen;"""
    assert await modules.run("media/turns.js", body) == ["ab", "abe", "abec", "abecd", "abecdf"]


async def test_whoever_takes_too_long_keeps_nobody_else(modules: Modules) -> None:
    body = """const { setTimeout: later } = window;
        window.setTimeout = (act, ms) => later(act, ms / 100);
        try {
            const turns = new m.Turns(1);
            const end = await turns.take();
            const began = performance.now();
            const second = await turns.take();
            const waitedMs = performance.now() - began;
            end();
            let third = false;
            turns.take().then(() => { third = true; });
            await new Promise((resolve) => later(resolve, 5));
            return [waitedMs, third];
        } finally {
            window.setTimeout = later;
        }"""
    waited_ms, third = await modules.run("media/turns.js", body)
    assert 25 < waited_ms < 1000  # 3 s, a hundred times as fast
    assert third is False  # the end of one that was over frees nothing


_ZOOMED = """document.body.replaceChildren();
    document.body.style.margin = 0;
    const frame = document.createElement('div');
    const picture = document.createElement('div');
    frame.append(picture);
    document.body.append(frame);
    for (const each of [frame, picture]) Object.assign(each.style, { width: '400px', height: '200px' });
    const zoom = new m.Zoom(frame, [picture]);
    const box = () => {
        const { left, top, right, bottom } = picture.getBoundingClientRect();
        return [left, top, right, bottom].map((value) => Math.round(value * 10) / 10);
    };
    const wheel = (deltaY, clientX, clientY, deltaMode = 0) => {
        const turned = { deltaY, clientX, clientY, deltaMode, cancelable: true };
        frame.dispatchEvent(new WheelEvent('wheel', turned));
    };
    const point = (kind, pointerId, clientX, clientY) => {
        frame.dispatchEvent(new PointerEvent(kind, { pointerId, clientX, clientY, buttons: 1 }));
    };
"""


async def test_zoom_keeps_its_bounds(modules: Modules) -> None:
    body = f"""{_ZOOMED}
        const found = [];
        zoom.enabled = true;
        zoom.further();
        found.push([zoom.scale, picture.style.transform]);
        for (let step = 0; step < 12; step++) zoom.closer();
        found.push(zoom.scale);
        for (let step = 0; step < 99; step++) zoom.pan(1, 1);
        found.push(box());
        for (let step = 0; step < 99; step++) zoom.pan(-1, -1);
        found.push(box(), frame.classList.contains('zoomed'));
        zoom.reset();
        found.push(box(), zoom.scale, picture.style.transform, frame.classList.contains('zoomed'));
        return found;"""
    assert await modules.run("tile/zoom.js", body) == [
        *([1, ""], 8),
        *([-2800, -1400, 400, 200], [0, 0, 3200, 1600], True),
        *([0, 0, 400, 200], 1, "", False),
    ]


async def test_zoom_stays_where_the_pointer_is(modules: Modules) -> None:
    body = f"""{_ZOOMED}
        wheel(-400, 100, 50);
        const off = zoom.scale;
        zoom.enabled = true;
        const share = () => {{ // where in the picture the point (100, 50) of the frame is
            const [left, top, right, bottom] = box();
            return [(100 - left) / (right - left), (50 - top) / (bottom - top)];
        }};
        const before = share();
        const scales = [];
        for (const notches of [-120, -240, 100]) {{ wheel(notches, 100, 50); scales.push(zoom.scale); }}
        const after = share();
        wheel(-3, 100, 50, 1);
        return [off, before, after, scales, zoom.scale / scales.at(-1)];"""
    off, before, after, scales, lines = await modules.run("tile/zoom.js", body)
    assert off == 1  # only where it is enabled
    assert after == pytest.approx(before, abs=0.01)
    assert scales == pytest.approx([1.21, 1.78, 1.51], abs=0.01)
    assert lines == pytest.approx(1.21, abs=0.01)  # three lines are a notch


async def test_two_fingers_zoom(modules: Modules) -> None:
    body = f"""{_ZOOMED}
        zoom.enabled = true;
        point('pointerdown', 1, 150, 100);
        point('pointerdown', 2, 250, 100);
        point('pointermove', 2, 350, 100);
        const apart = zoom.scale;
        point('pointermove', 1, 250, 100);
        const together = zoom.scale;
        point('pointerup', 1, 250, 100);
        point('pointercancel', 2, 350, 100);
        point('pointermove', 2, 0, 0);
        return [apart, together, zoom.scale];"""
    assert await modules.run("tile/zoom.js", body) == [2, 1, 1]


async def test_what_is_no_key_is_no_text(modules: Modules) -> None:
    body = "return given.flatMap((key) => [m.t(key), m.hasText(key)]);"
    keys = ["constructor", "toString", "__proto__", "no.such.key"]
    found = await modules.run("shared/texts.js", body, *keys)
    assert found == [word for key in keys for word in (key, False)]
    assert await modules.run("shared/texts.js", "return m.t('page.wall');") == "Wall"


async def test_the_address_asks_for_a_language(modules: Modules) -> None:
    for asked, language in (("ko", "ko"), ("constructor", "en"), ("__proto__", "en"), ("", "en")):
        async with modules.asked(f"?lang={asked}") as there:
            assert await there.run("shared/texts.js", "m.fillTexts(); return m.language;") == language
            assert await there.page.evaluate("document.documentElement.lang") == language


async def test_failures_are_told_in_the_language_of_the_viewer(modules: Modules) -> None:
    answered = (
        "try { await m.ask('GET', 'nothing'); } catch (error) { return [error.status, error.message]; }"
    )
    away = """const signaling = new m.Signaling();
        try { await signaling.request({}); } catch (error) { return [error.status, error.message]; }"""
    for language, unreachable, refused in (
        ("en", "the server is not reachable", "the server answers 404"),
        ("ko", "서버에 연결할 수 없습니다", "서버 응답 코드: 404"),
    ):
        async with modules.asked(f"?lang={language}") as there:
            assert await there.run("shared/api.js", answered) == [404, refused]
            assert await there.run("media/signaling.js", away) == [0, unreachable]
