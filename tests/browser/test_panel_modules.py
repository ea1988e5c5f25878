"""The modules of the side panel in Chromium, without a server: judgements, streams of events, the log."""

import asyncio
import contextlib
import copy
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Page

from signaling import security_headers
from signaling.pages import FOLDER
from tests.support.browser import chromium

pytestmark = pytest.mark.peers

BLANK = "<!doctype html>" + "".join(
    f'<link rel="stylesheet" href="style/{name}.css">' for name in ("base", "panel")
)
SESSION = "0123456789abcdef"
Known = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CHAIN = """async (known) => {
    const {chain} = await import('/panel/chain.js');
    const {culprit, summary} = await import('/panel/report.js');
    const steps = chain(known);
    return {steps, culprit: culprit(steps)?.step ?? null, summary: summary(steps, known.player)};
}"""


async def no_events(_: web.Request) -> web.StreamResponse:
    """As where there is no server."""
    raise web.HTTPNotFound


@contextlib.asynccontextmanager
async def blank_page(path: str = "/", events: Handler = no_events) -> AsyncIterator[Page]:
    """An empty page beside the modules, under the policy that they are served with."""

    async def blank(_: web.Request) -> web.Response:
        return web.Response(text=BLANK, content_type="text/html")

    async def headers(_: web.Request, response: web.StreamResponse) -> None:
        security_headers.add(response.headers, strict=False)

    app = web.Application()
    app.router.add_get("/", blank)
    app.router.add_get("/api/v1/events", events)
    app.router.add_static("/", FOLDER)
    app.on_response_prepare.append(headers)
    async with TestServer(app) as server, chromium() as browser:
        page = await browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(str(server.make_url(path)))
        yield page
        assert errors == []


def healthy() -> Known:
    """A camera that is seen as it should be, and the reading of ten seconds before."""
    camera = {
        "name": "gate",
        "rendition": "main",
        "state": "live",
        "state_s": 60.0,
        "error": None,
        "via": "RTSP over TCP",
        "lost_packets": 3,
        "damaged": 0,
        "jitter_s": 0.004,
        "clock_offset_s": 0.1,
        "reconnects": 0,
        "codec": "H264",
        "profile": "High",
        "width": 1920,
        "height": 1080,
        "fps": 25.0,
        "bitrate": 4_000_000,
        "gop_s": 2.0,
        "b_frames": False,
        "last_access_unit_age_s": 0.03,
        "advice": [],
    }
    diagnosis: Known = {
        "camera": camera,
        "ingest": {"up": True, "age_s": 0.5},
        "bus": {"last_access_unit_age_s": 0.02, "gaps": 2, "keyframe_cached": True},
        "worker": {"name": "fanout-0", "state": "up", "cpu": 0.2, "loop_lag_s": 0.001, "viewers": 3},
        "network": {
            "state": "connected",
            "path": "udp 192.0.2.7:5000",
            "srtp": "AEAD_AES_128_GCM",
            "quality": "auto",
            "showing": "main",
            "packets": 1000,
            "loss": 0.0,
            "rtt_s": 0.002,
            "available_bitrate": None,
            "retransmitted": 0,
            "dropped_frames": 0,
            "keyframe_requests": 0,
        },
    }
    video = {
        "codec": "H264",
        "format": "profile-level-id=640028",
        "decoder": None,
        "powerEfficient": False,
        "width": 1920,
        "height": 1080,
        "packets": 5000,
        "lost": 0,
        "nacks": 0,
        "plis": 0,
        "decoded": 500,
        "dropped": 0,
        "keyframes": 10,
        "freezes": 0,
        "bufferMs": 20.0,
    }
    local: Known = {
        "connection": "connected",
        "path": {
            "local": "host",
            "remote": "host",
            "protocol": "udp",
            "localAddress": "192.0.2.7:5000",
            "remoteAddress": "192.0.2.1:8189",
            "rttMs": 2.0,
        },
        "video": video,
        "decodes": ["VP8", "H264"],
        "videos": 4,
    }
    player = {
        "camera": "gate",
        "phase": "playing",
        "problem": "",
        "problemStatus": 0,
        "session": SESSION,
        "quality": "auto",
        "showing": {"showing": "main", "reason": "the link carries it"},
        "stillMs": 30,
        "pictureMs": 40,
        "ageMs": 120,
        "reconnects": 0,
        "rates": None,
    }
    before: Known = copy.deepcopy({"diagnosis": diagnosis, "local": local})
    before["local"]["video"].update(packets=2500, decoded=250)
    return {
        "camera": {"name": "gate", "state": "live", "renditions": ["main"], "error": None},
        "diagnosis": diagnosis,
        "local": local,
        "player": player,
        "failure": None,
        "before": before,
        "windowMs": 10_000,
    }


def changed(**changes: Any) -> Known:
    """The same with other values at paths such as `diagnosis__camera__fps`."""
    known = healthy()
    for path, value in changes.items():
        *way, last = path.split("__")
        place = known
        for name in way:
            place = place[name]
        place[last] = value
    return known


def without_session(status: int, problem: str, phase: str = "waiting", **more: Any) -> Known:
    """A view that could not be opened."""
    return changed(
        player__session=None,
        player__phase=phase,
        player__problem=problem,
        player__problemStatus=status,
        player__showing=None,
        player__stillMs=None,
        player__ageMs=None,
        diagnosis__bus=None,
        diagnosis__worker=None,
        diagnosis__network=None,
        local={"connection": None, "path": None, "video": None, "decodes": ["H264"], "videos": 0},
        before=None,
        windowMs=0,
        **more,
    )


REFUSED = {
    "diagnosis__camera__state": "failed",
    "diagnosis__camera__error": "the camera refuses the password",
}
AWAY = {"status": 0, "message": "the server is not reachable"}
# What is wrong, whose fault it is by step, how bad, and a part of the sentence.
FAULTS: dict[str, tuple[Known, str, str, str]] = {
    "login": (changed(**REFUSED, player__stillMs=9000), "camera", "bad", "the camera refuses the password"),
    "dialling": (changed(diagnosis__camera__state="connecting"), "camera", "bad", "being connected"),
    "frozen camera": (changed(diagnosis__camera__state="stalled"), "camera", "bad", "no picture"),
    "MJPEG": (changed(diagnosis__camera__codec="JPEG"), "camera", "bad", "no browser plays"),
    "H.265": (changed(diagnosis__camera__codec="H265"), "camera", "bad", "this browser does not play"),
    "long GOP": (changed(diagnosis__camera__gop_s=10.0), "camera", "warn", "every 10 s"),
    "B-frames": (changed(diagnosis__camera__b_frames=True), "camera", "warn", "B-frames"),
    "few pictures": (changed(diagnosis__camera__fps=2.0), "camera", "warn", "2.0 pictures"),
    "loss at the camera": (changed(diagnosis__camera__lost_packets=12), "camera", "warn", "9 packets"),
    "uneven": (changed(diagnosis__camera__jitter_s=0.3), "camera", "warn", "300 ms"),
    "not for you": (
        without_session(
            404, "no camera", camera=None, diagnosis=None, failure={"status": 404, "message": "no camera"}
        ),
        "camera",
        "bad",
        "no camera",
    ),
    "ingest died": (
        changed(diagnosis__camera__state="down", diagnosis__ingest={"up": False, "age_s": 5.0}),
        "ingest",
        "bad",
        "does not run",
    ),
    "ingest late": (changed(diagnosis__ingest__age_s=6.0), "ingest", "warn", "6.0 s ago"),
    "bus": (
        changed(diagnosis__bus__last_access_unit_age_s=7.0, player__stillMs=7000),
        "bus",
        "bad",
        "for 7.0 s",
    ),
    "keyframe": (changed(diagnosis__bus__keyframe_cached=False), "bus", "bad", "next keyframe"),
    "gaps": (changed(diagnosis__bus__gaps=5), "bus", "warn", ""),
    "silent worker": (changed(diagnosis__worker__state="silent"), "worker", "bad", "does not answer"),
    "busy worker": (changed(diagnosis__worker__cpu=0.97), "worker", "warn", "97.0 %"),
    "late worker": (changed(diagnosis__worker__loop_lag_s=0.4), "worker", "warn", "400 ms"),
    "draining": (changed(diagnosis__worker__state="draining"), "worker", "warn", "emptied"),
    "full": (without_session(503, "the server is full"), "worker", "bad", "the server is full"),
    "kicked": (without_session(0, "an operator ended it", "ended"), "worker", "bad", "an operator ended it"),
    "server away": (without_session(0, "", diagnosis=None, failure=AWAY), "network", "bad", "not reachable"),
    "server away, picture there": (changed(diagnosis=None, failure=AWAY), "network", "warn", "not reachable"),
    "ports blocked": (without_session(0, "no connection to the media port"), "network", "bad", "media port"),
    "checking": (changed(local__connection="connecting"), "network", "bad", "not made yet"),
    "cable out": (changed(local__connection="disconnected"), "network", "bad", "interrupted"),
    "no packets": (
        changed(local__video__packets=2500, player__stillMs=9000),
        "network",
        "bad",
        "no media arrives",
    ),
    "loss": (changed(local__video__lost=100), "network", "warn", "3.8 %"),
    "heavy loss": (changed(local__video__lost=900), "network", "bad", "26.5 %"),
    "TCP": (changed(local__path__protocol="tcp"), "network", "warn", "TCP"),
    "far": (changed(local__path__rttMs=450), "network", "warn", "450 ms"),
    "narrow": (
        changed(player__showing={"showing": "sub", "reason": "the link carries 1 Mbit/s"}),
        "network",
        "warn",
        "the link carries 1 Mbit/s",
    ),
    "too narrow": (
        changed(diagnosis__network__available_bitrate=900_000, diagnosis__network__dropped_frames=2),
        "network",
        "warn",
        "900 kbit/s",
    ),
    "left out": (changed(diagnosis__network__dropped_frames=7), "network", "warn", "7 pictures"),
    "codec refused": (without_session(406, "no codec in common"), "decoder", "bad", "no codec in common"),
    "nothing decoded": (
        changed(local__video__decoded=0, player__stillMs=None, before=None, windowMs=0),
        "decoder",
        "bad",
        "no picture could be decoded",
    ),
    "stuck": (changed(local__video__decoded=250, player__stillMs=9000), "decoder", "bad", "no new picture"),
    "slow device": (changed(local__video__dropped=60), "decoder", "warn", "60 pictures"),
    "freezes": (changed(local__video__freezes=2), "decoder", "warn", "2 times"),
    "no graphics chip": (changed(local__videos=16), "decoder", "warn", "16 pictures"),
    "old": (changed(player__ageMs=2400), "decoder", "warn", "2.4 s old"),
}
ORDER = ["camera", "ingest", "bus", "worker", "network", "decoder"]


async def test_a_healthy_chain_is_good_at_each_step() -> None:
    async with blank_page() as page:
        result = await page.evaluate(_CHAIN, healthy())
    assert [(step["step"], step["verdict"]) for step in result["steps"]] == [(name, "good") for name in ORDER]
    assert result["culprit"] is None and "live" in result["summary"]
    assert all(step["text"] and step["facts"] and not step["advice"] for step in result["steps"])
    facts = dict(result["steps"][0]["facts"])
    assert (facts["Resolution"], facts["B-frames"], facts["Packets lost"]) == (
        "1920 \N{MULTIPLICATION SIGN} 1080",
        "no",
        "3",
    )


async def test_each_fault_is_found_at_its_step() -> None:
    async with blank_page() as page:
        for name, (known, culprit, verdict, words) in FAULTS.items():
            result = await page.evaluate(_CHAIN, known)
            steps = {step["step"]: step for step in result["steps"]}
            assert list(steps) == ORDER, name
            assert (result["culprit"], steps[culprit]["verdict"]) == (culprit, verdict), (name, result)
            assert words in result["summary"], (name, result["summary"])
            before = ORDER[: ORDER.index(culprit)]
            assert all(steps[step]["verdict"] in ("good", "unknown") for step in before), (name, result)
            if culprit != "camera":
                assert steps[culprit]["advice"], name


async def test_of_a_worker_a_viewer_learns_only_that_it_runs() -> None:
    unknown = {"cpu": None, "loop_lag_s": None, "viewers": None}
    known = changed(diagnosis__worker={**healthy()["diagnosis"]["worker"], **unknown})
    async with blank_page() as page:
        result = await page.evaluate(_CHAIN, known)
    worker = result["steps"][ORDER.index("worker")]
    assert (worker["verdict"], worker["text"]) == ("good", "It runs.")
    assert worker["facts"] == [["Worker", "fanout-0"], ["State", "up"]]
    assert result["culprit"] is None


async def test_what_lies_behind_a_fault_is_not_blamed() -> None:
    known = changed(
        **REFUSED,
        diagnosis__bus__last_access_unit_age_s=40.0,
        local__video__packets=2500,
        local__video__decoded=250,
        player__stillMs=40_000,
    )
    async with blank_page() as page:
        result = await page.evaluate(_CHAIN, known)
    verdicts = [step["verdict"] for step in result["steps"]]
    assert verdicts == ["bad", "good", "unknown", "good", "good", "unknown"]


async def test_the_advice_of_the_server_is_handed_on() -> None:
    advice = ["Check the user name and password in `url`.", "Set an NTP server in the camera."]
    async with blank_page() as page:
        result = await page.evaluate(_CHAIN, changed(**REFUSED, diagnosis__camera__advice=advice))
    assert result["steps"][0]["advice"] == " ".join(advice)


async def test_what_a_link_was_seen_to_carry_is_no_fault() -> None:
    async with blank_page() as page:
        result = await page.evaluate(_CHAIN, changed(diagnosis__network__available_bitrate=900_000))
        unknown = await page.evaluate(_CHAIN, FAULTS["left out"][0])
    assert result["culprit"] is None
    assert dict(result["steps"][4]["facts"])["Link carries"] == "900 kbit/s"
    assert "The link carries" not in unknown["summary"]


async def test_old_losses_are_facts_and_no_faults() -> None:
    known = changed(
        diagnosis__camera__lost_packets=4000,
        before__diagnosis__camera__lost_packets=4000,
        diagnosis__bus__gaps=9,
        before__diagnosis__bus={"gaps": 9},
    )
    async with blank_page() as page:
        result = await page.evaluate(_CHAIN, known)
    assert result["culprit"] is None
    assert dict(result["steps"][0]["facts"])["Packets lost"] == "4000"


async def test_every_sentence_is_there_in_korean() -> None:
    async with blank_page("/?lang=ko") as page:
        for name, (known, _, _, _) in FAULTS.items():
            result = await page.evaluate(_CHAIN, known)
            for step in result["steps"]:
                said = [step["text"], *(label for label, _ in step["facts"])]
                untold = [text for text in said if not re.search("[가-힣]", text)]
                ours = [text for text in untold if text != known["player"]["problem"]]
                assert not [text for text in ours if text != (known["failure"] or {}).get("message")], (
                    name,
                    said,
                )


def test_the_languages_have_the_same_texts() -> None:
    english, korean = (FOLDER / "shared" / "texts.js").read_text().split("\n  ko: {")
    keys = [
        re.findall(r'^    "((?:panel|why|log)\.[^"]+)":', part, re.MULTILINE) for part in (english, korean)
    ]
    assert keys[0] == keys[1] and len(keys[0]) == len(set(keys[0])) > 100
    literal = re.compile(r'\bt\("((?:panel|why|log)\.[\w.]+)"|\bfound\("\w+", "([\w.]+)"')
    for file in (FOLDER / "panel").glob("*.js"):
        for key, short in literal.findall(file.read_text()):
            assert (key or f"why.{short}") in keys[0], (file.name, key or short)


async def test_the_report_as_text_says_all_and_gives_no_key_away() -> None:
    async with blank_page() as page:
        text = await page.evaluate(
            """async (known) => {
                const {chain} = await import('/panel/chain.js');
                const {asText} = await import('/panel/report.js');
                return asText(chain(known), known.player, new Date(0), 'Browser 1.0');
            }""",
            FAULTS["login"][0],
        )
    lines = text.splitlines()
    assert lines[:4] == [
        "Report on camera gate",
        "1970-01-01T00:00:00.000Z",
        "Browser 1.0",
        "Session 012345…",
    ]
    assert SESSION not in text
    for step in ("Camera [Fault]", "Camera process [All right]", "Network to this browser [All right]"):
        assert step in lines
    assert "It refuses: the camera refuses the password" in lines
    assert "  Resolution: 1920 \N{MULTIPLICATION SIGN} 1080" in lines


async def test_plots_bridge_no_gap() -> None:
    samples = [{"atMs": at, "fps": fps} for at, fps in ((0, 25), (1000, None), (2000, 20), (9000, 30))]
    async with blank_page() as page:
        points, extent, nothing = await page.evaluate(
            """async (samples) => {
                const {extent, points} = await import('/panel/figures.js');
                return [points(samples, 'fps'), extent(samples, 'fps'), extent(samples.slice(1, 2), 'fps')];
            }""",
            samples,
        )
    assert points == [[0, 25], [1000, None], [2000, 20], [2001, None], [9000, 30]]
    assert extent == {"least": 20, "most": 30, "now": 30} and nothing is None


async def test_events_are_read_wherever_the_stream_is_cut() -> None:
    events = 'id: 7\nevent: camera\ndata: {"text": "a: b"}\n\n', "id: 8\ndata: 1\ndata: 2\n\n", "id: 9\n"
    stream = ": hello\n\n" + ": still here\n\n".join(events)
    async with blank_page() as page:
        readings = await page.evaluate(
            """async (stream) => {
                const {EventReader} = await import('/panel/events.js');
                return Array.from(stream, (_, cut) => {
                    const reader = new EventReader();
                    return [...reader.feed(stream.slice(0, cut)), ...reader.feed(stream.slice(cut))];
                });
            }""",
            stream,
        )
    expected = [{"id": "7", "data": '{"text": "a: b"}'}, {"id": "8", "data": "1\n2"}]
    assert readings == [expected] * len(stream)


async def test_a_listener_says_who_it_is_by_the_token_of_the_page() -> None:
    said: list[str | None] = []

    async def events(request: web.Request) -> web.StreamResponse:
        said.append(request.headers.get("Authorization"))
        return web.Response(status=401)

    async with blank_page("/?lang=ko", events) as page:
        problem = await page.evaluate(
            """async () => {
                const [{ServerEvents}, {useToken}] =
                    await Promise.all([import('/panel/events.js'), import('/shared/api.js')]);
                useToken('view-key');
                return new Promise((resolve) => {
                    const events = new ServerEvents(() => {}, (text) => { events.close(); resolve(text); });
                });
            }"""
        )
    assert said == ["Bearer view-key"]
    assert problem == "서버 응답 코드: 401"  # what the server leaves unsaid is said in the viewer's language


async def test_a_listener_comes_again_and_misses_nothing() -> None:
    asked: list[str] = []
    over = asyncio.Event()

    async def events(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers["Last-Event-ID"])
        if len(asked) == 2:
            problem = {"detail": "too many listen to events"}
            return web.json_response(problem, status=503, headers={"Retry-After": "1"})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in (1, 2) if len(asked) == 1 else (3,):
            await response.write(b'id: %d\ndata: "event %d"\n\n' % (number, number))
        if len(asked) == 3:
            await over.wait()
        return response

    async with blank_page(events=events) as page:
        await page.evaluate(
            """async () => {
                const {ServerEvents} = await import('/panel/events.js');
                window.heard = [];
                window.problems = [];
                window.events = new ServerEvents((event) => heard.push(event), (text) => problems.push(text));
            }"""
        )
        async with asyncio.timeout(10.0):
            while len(await page.evaluate("heard")) < 3:
                await asyncio.sleep(0.05)
        assert await page.evaluate("heard") == ["event 1", "event 2", "event 3"]
        problems = await page.evaluate("problems")
        assert problems == ["", "Server not reachable", "too many listen to events", ""]
        await page.evaluate("events.close()")
        over.set()
    assert asked == ["0", "2", "2"]


_LOG = """async (role) => {
    const [{Log}, {journal}] = await Promise.all([import('/panel/log.js'), import('/media/journal.js')]);
    const place = document.createElement('div');
    document.body.append(place);
    for (const [level, camera, text] of [
        ['info', 'gate', 'first picture'],
        ['warning', 'yard', 'reconnecting'],
        ['error', null, 'the server is away'],
    ]) journal.add({level, camera, text});
    window.journal = journal;
    window.log = new Log(place, {sources: ['browser'], role});
}"""
_SEEN = """() => [...document.querySelectorAll('.row')].filter((row) => row.checkVisibility())
    .map((row) => row.querySelector('.text').textContent)"""
ALL = ["first picture", "reconnecting", "the server is away"]


async def test_the_log_is_filtered() -> None:
    async with blank_page() as page:
        await page.evaluate(_LOG, "admin")
        assert await page.evaluate(_SEEN) == ALL
        assert await page.locator(".log label", has_text="Source").is_hidden()  # there is one alone
        camera, level = page.get_by_label("Camera"), page.get_by_label("Level")
        assert await camera.locator("option").all_text_contents() == ["All cameras", "gate", "yard"]
        await camera.select_option("yard")
        assert await page.evaluate(_SEEN) == ["reconnecting"]
        await camera.select_option("")
        await level.select_option("warning")
        assert await page.evaluate(_SEEN) == ALL[1:]
        await level.select_option("error")
        await page.evaluate("journal.add({camera: 'attic', text: 'hello'})")
        assert await page.evaluate(_SEEN) == ALL[2:]
        assert await camera.locator("option").all_text_contents() == ["All cameras", "attic", "gate", "yard"]
        await level.select_option("info")
        await page.get_by_label("Search").fill("ATTIC")
        assert await page.evaluate(_SEEN) == ["hello"]
        await page.get_by_label("Search").fill("nowhere")
        assert await page.locator(".nothing").text_content() == "No entry fits the filter."


async def test_the_log_is_paused_cleared_and_bounded() -> None:
    async with blank_page() as page:
        await page.evaluate(_LOG, "admin")
        await page.get_by_role("button", name="Pause").click()
        await page.evaluate("for (let i = 0; i < 3; i++) journal.add({text: `later ${i}`})")
        assert await page.evaluate(_SEEN) == ALL
        await page.get_by_role("button", name="Go on (3 waiting)").click()
        assert await page.evaluate(_SEEN) == [*ALL, "later 0", "later 1", "later 2"]
        await page.get_by_role("button", name="Clear").click()
        assert await page.evaluate(_SEEN) == []
        await page.evaluate("for (let i = 0; i < 1200; i++) journal.add({text: `many ${i}`})")
        seen = await page.evaluate(_SEEN)
        assert (len(seen), seen[0], seen[-1]) == (1000, "many 200", "many 1199")


_AT_END = """() => {
    const {scrollHeight, scrollTop, clientHeight} = document.querySelector('.rows');
    return scrollHeight - scrollTop - clientHeight < 2;
}"""


async def test_the_log_follows_unless_somebody_reads_above() -> None:
    async with blank_page() as page:
        await page.evaluate(_LOG, "admin")
        await page.evaluate("for (let i = 0; i < 300; i++) journal.add({text: `many ${i}`})")
        assert await page.evaluate(_AT_END)
        newest = page.get_by_role("button", name="To the newest")
        assert await newest.is_hidden()
        await page.locator(".rows").evaluate("(rows) => rows.scrollTo(0, 0)")
        await newest.wait_for()
        await page.evaluate("journal.add({text: 'unseen'})")
        assert not await page.evaluate(_AT_END)
        await newest.click()
        assert await page.evaluate(_AT_END)
        await newest.wait_for(state="hidden")


async def test_entries_of_both_sources_are_in_order_of_time() -> None:
    async with blank_page() as page:
        lines = await page.evaluate(
            """async () => {
                const {entryOf, lineOf} = await import('/panel/log.js');
                const at = '2026-01-31T12:00:00.125Z';
                const event = {at, level: 'warning', camera: 'gate', worker: null};
                return [
                    lineOf(entryOf({...event, viewer: 'anna', text: 'anna watches gate'})),
                    lineOf(entryOf({...event, viewer: 'anna', text: 'ended'})),
                    lineOf(entryOf({...event, camera: null, worker: 'fanout-0', viewer: null, text: 'up'})),
                ];
            }"""
        )
        rest = [re.sub(r"^2026-\d\d-\d\d \d\d:\d\d:00\.125 ", "", line) for line in lines]
        assert rest == [
            "warning server gate anna watches gate",
            "warning server gate anna ended",
            "warning server fanout-0 up",
        ]
        # The server is asked, and there is none here: the log says so, and keeps the browser's own.
        await page.evaluate(_LOG.replace("['browser']", "['browser', 'server']"), "viewer")
        assert await page.evaluate(_SEEN) == ALL
        await page.locator(".log .state", has_text="Events of the server do not come").wait_for()
        assert (
            await page.locator(".log > .note").text_content()
            == "Of the server you see the events of your cameras."
        )


@pytest.mark.parametrize("works", [True, False])
async def test_without_a_clipboard_the_text_is_copied_or_selected(works: bool) -> None:
    async with blank_page() as page:
        await page.evaluate(
            """async (works) => {
                Object.defineProperty(navigator, 'clipboard', {value: undefined}); // as on a page without TLS
                document.execCommand = () => works;
                const {copyButton} = await import('/shared/copy.js');
                document.body.append(copyButton('Copy it', () => 'all of it'));
            }""",
            works,
        )
        await page.get_by_role("button", name="Copy it").click()
        area = page.locator("textarea")
        said = await page.get_by_role("status").text_content()
        if works:
            assert said == "Copied" and await area.is_hidden()
        else:
            assert said == "The text is selected: press Ctrl+C." and await area.is_visible()
            assert await page.evaluate("getSelection().toString()") == "all of it"
