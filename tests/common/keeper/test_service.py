"""The keeper on the real bus, with a supervisor that only notes what it is told."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from common import config
from common.bus import ControlServer
from common.config import CameraConfig, Config
from common.errors import LocalError
from common.keeper.service import Keeper
from common.keeper.watch import POLL_S
from common.messages import (
    EditRequest,
    Message,
    OrderRequest,
    Refused,
    ReloadRequest,
    Settings,
    SettingsRequest,
    SettingsState,
)
from common.resolved import load_camera, load_signaling, load_system, load_whole

TEXT = """\
# mine
cameras:
  door:
    url: rtsp://u:s3cret@cam/a  # the door
  yard:
    url: rtsp://cam/b
"""
HASH = "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzYWx0$" + "A" * 43


AT_START = (["door", "yard"], ())


class Noted:
    def __init__(self) -> None:
        self.calls: list[tuple[list[str], tuple[str, ...]]] = []
        self.fault: str | None = None

    def apply(self, wanted: Config, changed: tuple[str, ...]) -> None:
        self.calls.append(([camera.name for camera in wanted.cameras], changed))
        if self.fault:
            raise LocalError(self.fault)


class Bench:
    """Signaling's side of the bus, and the keeper."""

    def __init__(self, folder: Path, text: str | None, simulated_port: int | None = None) -> None:
        self.folder = folder
        self.path = folder / "config.yaml"
        self.heard: list[SettingsState] = []
        self.server = ControlServer(f"ipc://{folder}/c.sock", self._hear)
        started = Config((CameraConfig("simulated", "rtsp://127.0.0.1/s"),))
        if text is not None:
            self.path.write_text(text)
            started = config.load(self.path)
        self.programs = Noted()
        self.start(started, simulated_port)

    def start(self, started: Config, simulated_port: int | None = None) -> None:
        endpoint = f"ipc://{self.folder}/c.sock"
        run = self.folder / "run"
        self.keeper = Keeper(endpoint, run, self.path, started, simulated_port, self.programs)
        self.task = asyncio.ensure_future(self.keeper.run())

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.keeper.close()

    async def restart(self) -> None:
        """As supervisord does: another keeper, which knows nothing but what the files say."""
        await self.stop()
        self.heard.clear()
        self.programs.calls.clear()
        self.start(load_whole(self.folder / "run", config.default_workers()))

    def _hear(self, identity: str, message: Message) -> None:
        assert identity == "keeper" and isinstance(message, SettingsState)
        self.heard.append(message)

    async def ask(self, message: Message) -> Message:
        for _ in range(100):
            if self.heard:
                break
            await asyncio.sleep(0.01)
        return await self.server.request("keeper", message)

    async def edit(
        self, name: str, content: object, etag: str | None = None, kind: str = "camera"
    ) -> Message:
        text = json.dumps(content) if content is not None else None
        return await self.ask(EditRequest(kind, name, text, etag, "anna"))  # type: ignore[arg-type]

    async def tag(self, name: str) -> str:
        reply = await self.ask(SettingsRequest("camera", name))
        assert isinstance(reply, Settings)
        return reply.entries[0].etag

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.02)

    async def close(self) -> None:
        await self.stop()
        self.server.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path, TEXT)
    yield bench
    await bench.close()


def refused(message: Message, kind: str) -> str:
    assert isinstance(message, Refused) and message.kind == kind, message
    assert "s3cret" not in message.detail
    return message.detail


async def test_it_says_what_is_in_force(bench: Bench) -> None:
    reply = await bench.ask(SettingsRequest("camera", None))
    assert isinstance(reply, Settings)
    assert [entry.name for entry in reply.entries] == ["door", "yard"]
    assert "s3cret" not in repr(reply)
    state = bench.heard[0]
    assert (state.cameras, state.writable, state.error, state.restart_needed) == (
        ("door", "yard"),
        True,
        None,
        (),
    )
    assert await bench.ask(SettingsRequest("camera", "nobody")) == Settings(())


async def test_edits(bench: Bench) -> None:
    reply = await bench.edit("gate", {"url": "rtsp://cam/c"}, "new")
    assert isinstance(reply, Settings) and reply.entries[0].name == "gate"
    assert bench.programs.calls == [AT_START, (["door", "yard", "gate"], ())]
    assert load_camera(bench.folder / "run", "gate").url == "rtsp://cam/c"
    tag = await bench.tag("yard")
    assert isinstance(await bench.edit("yard", {"url": "rtsp://cam/new"}, tag), Settings)
    assert bench.programs.calls[-1] == (["door", "yard", "gate"], ("yard",))
    assert await bench.edit("door", None) == Settings(())
    assert load_system(bench.folder / "run").cameras == ("yard", "gate")
    assert not (bench.folder / "run" / "cameras" / "door.json").exists()
    assert bench.path.read_text().startswith("# mine\ncameras:\n  yard:\n")
    assert bench.heard[-1].cameras == ("yard", "gate")
    assert [state.revision for state in bench.heard] == sorted(state.revision for state in bench.heard)


async def test_of_two_edits_at_once_one_is_told(bench: Bench) -> None:
    tag = await bench.tag("yard")
    replies = await asyncio.gather(
        *(bench.edit("yard", {"url": f"rtsp://cam/{number}"}, tag) for number in range(5))
    )
    assert [isinstance(reply, Settings) for reply in replies].count(True) == 1
    for reply in replies:
        if isinstance(reply, Refused):
            assert reply.kind == "changed-meanwhile"
    # Without a condition nothing is lost either: they are about different cameras.
    await asyncio.gather(*(bench.edit(f"c{number}", {"url": "rtsp://cam/x"}) for number in range(20)))
    assert len(config.load(bench.path).cameras) == 22


async def test_refusals(bench: Bench) -> None:
    refused(await bench.edit("yard", {"url": "rtsp://x"}, "new"), "exists")
    refused(await bench.edit("nobody", {"url": "rtsp://x"}, "tag"), "unknown")
    refused(await bench.edit("nobody", None), "unknown")
    assert "ftp" not in TEXT
    assert "url must be" in refused(await bench.edit("new", {"url": "ftp://u:s3cret@x"}), "bad-settings")
    assert "no name" in refused(await bench.edit("a/../b", {"url": "rtsp://x"}), "bad-settings")
    refused(await bench.edit("new", [1]), "bad-settings")
    refused(await bench.ask(EditRequest("camera", "new", "{", None, "anna")), "bad-settings")
    refused(
        await bench.edit("door", {"url": "rtsp://evil/a", "credentials": True}),
        "bad-settings",
    )
    assert bench.path.read_text() == TEXT and bench.programs.calls == [AT_START]


async def test_another_order_touches_no_camera(bench: Bench) -> None:
    state = await bench.ask(OrderRequest(("yard", "door"), ("door", "yard"), "anna"))
    assert isinstance(state, SettingsState) and state.cameras == ("yard", "door")
    assert bench.programs.calls == [AT_START, (["yard", "door"], ())]
    assert load_system(bench.folder / "run").cameras == ("yard", "door")
    lines = TEXT.splitlines()
    assert bench.path.read_text().splitlines() == [*lines[:2], *lines[4:], *lines[2:4]]
    assert bench.heard[-1] == state
    # The same once more: there is nothing to do, and nothing is done.
    before = bench.path.stat()
    again = await bench.ask(OrderRequest(("yard", "door"), None, "anna"))
    assert again == state and bench.path.stat() == before
    refused(await bench.ask(OrderRequest(("door", "yard"), ("door", "yard"), "anna")), "changed-meanwhile")
    refused(await bench.ask(OrderRequest(("door",), None, "anna")), "bad-settings")
    bench.path.write_text(TEXT + "oops: 1\n")
    refused(await bench.ask(OrderRequest(("door", "yard"), None, "anna")), "bad-settings")


async def test_the_file_is_followed(bench: Bench) -> None:
    await bench.ask(SettingsRequest("camera", None))
    bench.path.write_text(TEXT + "  gate:\n    url: rtsp://cam/c\n")
    await bench.until(lambda: bench.heard[-1].cameras == ("door", "yard", "gate"))
    assert bench.programs.calls == [AT_START, (["door", "yard", "gate"], ())]


async def test_a_bad_file_changes_nothing_and_says_why(bench: Bench) -> None:
    for text, says in (
        (TEXT + "oops: 1\n", "oops is not a known key"),
        ("cameras: [", "is not YAML"),
        (None, "is gone"),
    ):
        if text is None:
            bench.path.unlink()
        else:
            bench.path.write_text(text)
        state = await bench.ask(ReloadRequest())
        assert isinstance(state, SettingsState)
        assert state.error is not None and says in state.error and state.cameras == ("door", "yard")
        kind = "bad-settings" if text is not None else "read-only"
        refused(await bench.edit("gate", {"url": "rtsp://cam/c"}), kind)
        refused(await bench.ask(OrderRequest(("yard", "door"), None, "anna")), kind)
        assert bench.path.exists() == state.writable == (text is not None)
    assert bench.programs.calls == [AT_START]
    bench.path.write_text(TEXT)
    state = await bench.ask(ReloadRequest())
    assert isinstance(state, SettingsState) and state.error is None


async def test_users_and_what_waits_for_the_next_start(bench: Bench) -> None:
    reply = await bench.edit("anna", {"role": "admin", "password": HASH}, "new", "user")
    assert isinstance(reply, Settings)
    assert json.loads(reply.entries[0].content) == {"role": "admin", "cameras": ["*"], "password": True}
    assert load_signaling(bench.folder / "run").auth.users[0].password == HASH
    bench.path.write_text(bench.path.read_text() + "http: {listen: '127.0.0.1:9999'}\n")
    state = await bench.ask(ReloadRequest())
    assert isinstance(state, SettingsState) and state.restart_needed == ("http.listen",)
    assert load_system(bench.folder / "run").http_port == 8080


async def test_without_a_file_the_first_edit_makes_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path, None, simulated_port=8554)
    state = await bench.ask(ReloadRequest())
    assert isinstance(state, SettingsState)
    assert (state.cameras, state.error, state.writable) == (("simulated",), None, True)
    for names in ((), ("simulated",)):
        refused(await bench.ask(OrderRequest(names, None, "anna")), "bad-settings")
    assert not bench.path.exists()
    assert isinstance(await bench.edit("door", {"url": "rtsp://cam/a"}, "new"), Settings)
    assert bench.programs.calls == [(["door"], ())]
    assert [camera.name for camera in config.load(bench.path).cameras] == ["door"]
    await bench.close()


async def test_what_supervisor_refuses_is_told_and_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.ask(ReloadRequest())
    bench.programs.fault = "no system answers"
    said = refused(await bench.edit("gate", {"url": "rtsp://cam/c"}, "new"), "internal")
    assert "is written, but not in force" in said and "no system answers" in said
    assert bench.heard[-1].error is not None and "no system answers" in bench.heard[-1].error
    said = refused(await bench.ask(OrderRequest(("yard", "door", "gate"), None, "anna")), "internal")
    assert "no system answers" in said
    # A file that is refused meanwhile is the nearer trouble; what it said before is still tried.
    text = bench.path.read_text()
    bench.path.write_text("cameras: [")
    state = await bench.ask(ReloadRequest())
    assert isinstance(state, SettingsState) and state.error is not None and "not YAML" in state.error
    bench.programs.fault = None
    calls, revision = len(bench.programs.calls), bench.heard[-1].revision
    await bench.until(lambda: len(bench.programs.calls) > calls and not bench.programs.fault)
    assert bench.programs.calls[-1] == (["yard", "door", "gate"], ())
    bench.path.write_text(text)
    await bench.until(lambda: bench.heard[-1].error is None)
    assert bench.heard[-1].revision == revision
    # Once it is in force there is nothing to try any more.
    calls = len(bench.programs.calls)
    await asyncio.sleep(3 * POLL_S)
    assert len(bench.programs.calls) == calls


async def test_a_full_disk_is_told(bench: Bench) -> None:
    await bench.ask(ReloadRequest())
    cameras = bench.folder / "run" / "cameras"
    cameras.rename(cameras.with_name("away"))
    cameras.write_text("nothing can be written below a file")
    said = refused(await bench.edit("gate", {"url": "rtsp://cam/c"}, "new"), "internal")
    assert "is written, but not in force" in said and "cameras" in said
    assert [camera.name for camera in config.load(bench.path).cameras] == ["door", "yard", "gate"]
    cameras.unlink()
    await bench.until(lambda: bench.heard[-1].error is None)
    assert bench.programs.calls[-1] == (["door", "yard", "gate"], ())
    assert load_camera(bench.folder / "run", "gate").url == "rtsp://cam/c"


async def test_what_was_tried_and_taken_back_is_undone(bench: Bench) -> None:
    await bench.ask(ReloadRequest())
    bench.programs.fault = "no system answers"
    refused(await bench.edit("yard", {"url": "rtsp://cam/new"}), "internal")
    bench.programs.fault = None
    bench.path.write_text(TEXT)
    state = await bench.ask(ReloadRequest())
    assert isinstance(state, SettingsState) and state.error is None
    assert bench.programs.calls[-1] == (["door", "yard"], ("yard",))
    assert load_camera(bench.folder / "run", "yard").url == "rtsp://cam/b"


async def test_a_keeper_that_is_killed_between_files_and_programs_is_made_up_for(bench: Bench) -> None:
    await bench.ask(ReloadRequest())
    await bench.restart()
    await bench.ask(ReloadRequest())
    assert bench.programs.calls == [AT_START]
    bench.programs.fault = "killed"
    await bench.edit("yard", {"url": "rtsp://cam/new"})
    bench.programs.fault = None
    await bench.restart()
    await bench.ask(ReloadRequest())
    assert bench.programs.calls == [(["door", "yard"], ("yard",))]
    await bench.restart()
    await bench.ask(ReloadRequest())
    assert bench.programs.calls == [AT_START]


BEYOND = (
    TEXT + "http: {listen: '0.0.0.0:8080'}\nauth: {users: {anna: {role: admin, password: '" + HASH + "'}}}\n"
)


async def test_the_login_stays_while_others_reach_the_pages(tmp_path: Path) -> None:
    bench = Bench(tmp_path, BEYOND)
    await bench.ask(ReloadRequest())
    run = tmp_path / "run"
    # In order by itself, but what is listened on stays until the next start.
    for _ in range(2):
        bench.path.write_text(TEXT + "http: {listen: '127.0.0.1:8080'}\n")
        state = await bench.ask(ReloadRequest())
        assert isinstance(state, SettingsState)
        assert state.error is not None and "auth is not written" in state.error and "0.0.0.0" in state.error
        refused(await bench.edit("gate", {"url": "rtsp://cam/c"}), "bad-settings")
        refused(await bench.ask(OrderRequest(("yard", "door"), None, "olga")), "bad-settings")
        assert config.load(bench.path).cameras == config.parse(TEXT, "f").cameras
        assert load_signaling(run).auth.mode == "users"
        # A keeper that is started again knows what is listened on, too.
        bench.path.write_text(BEYOND)
        await bench.restart()
        await bench.until(lambda: bench.heard and bench.heard[-1].error is None)
    bench.path.write_text(BEYOND.replace("0.0.0.0", "127.0.0.1"))
    state = await bench.ask(ReloadRequest())
    assert isinstance(state, SettingsState) and (state.error, state.restart_needed) == (
        None,
        ("http.listen",),
    )
    await bench.close()


async def test_on_loopback_the_login_may_go_at_once(bench: Bench) -> None:
    await bench.edit("anna", {"role": "admin", "password": HASH}, "new", "user")
    bench.path.write_text(TEXT)
    state = await bench.ask(ReloadRequest())
    assert isinstance(state, SettingsState) and state.error is None
    assert load_signaling(bench.folder / "run").auth.mode == "unset"
