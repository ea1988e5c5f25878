"""The keeper at work: follows the file, takes edits, and tells supervisor and signaling what is in force."""

import asyncio
import contextlib
import json
import logging
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from common import config
from common.access_config import UserConfig
from common.access_section import USER_NAME, USER_NAME_ALLOWED
from common.bus import ControlClient
from common.config import CAMERA_NAME, CameraConfig, Config
from common.errors import CctvError, ConfigError
from common.keeper import editing
from common.keeper.editing import Kind, NotThere, NotWritable
from common.keeper.entries import Marks, written_camera, written_user
from common.keeper.plan import compare, restart_needed, running
from common.keeper.untold import Untold
from common.keeper.watch import POLL_S, Watch
from common.messages import (
    EditRequest,
    Message,
    OrderRequest,
    RefusalKind,
    Refused,
    ReloadRequest,
    Settings,
    SettingsRequest,
    SettingsState,
)
from common.resolved import store_resolved

log = logging.getLogger(__name__)

_NAME_ALLOWED = {
    "camera": "1 to 48 letters, digits, '-' and '_', a letter or digit first",
    "user": USER_NAME_ALLOWED,
}


class Programs(Protocol):
    """Supervisor, as the keeper needs it (common/supervision.py)."""

    def apply(self, wanted: Config, changed: tuple[str, ...]) -> None:
        """Makes the programs those of `wanted`, starts those of `changed` cameras anew; raises LocalError."""
        ...


class _Refusal(Exception):
    def __init__(self, kind: RefusalKind, detail: str) -> None:
        super().__init__(detail)
        self.kind: RefusalKind = kind
        self.detail = detail


class Keeper:
    """To be made on a running event loop. `simulated_port`: there is no file, one camera is simulated."""

    def __init__(
        self,
        endpoint: str,
        folder: Path,
        path: Path,
        started: Config,
        simulated_port: int | None,
        programs: Programs,
    ) -> None:
        self._folder = folder
        self._path = path
        self._started = started
        "What runs since the start and changes at the next one only."
        self._current = started
        "What the file said when it was last in order."
        self._applied = started
        "What supervisor was last brought to, but for `untold`."
        self._untold = Untold(folder)
        self._simulated_port = simulated_port
        self._programs = programs
        self._epoch = secrets.randbits(63)
        self._revision = 1
        self._error: str | None = None
        "What is wrong with the file."
        self._not_in_force: str | None = None
        "Why what the file said could not be put in force yet."
        self._marks = Marks(secrets.token_bytes(32))
        self._busy = asyncio.Lock()
        self._watch = Watch(path)
        self._client = ControlClient(endpoint, "keeper", self.state, self._answer)

    def close(self) -> None:
        """Leaves the bus."""
        self._client.close()

    async def run(self) -> None:
        """Follows the file until cancelled."""
        if self._simulated_port is None:
            # A keeper before this one may have ended between two calls.
            async with self._busy:
                await self._put_in_force()
        # The file may have been changed between the launcher's look and this one.
        await self.reload()
        while True:
            await asyncio.sleep(POLL_S)
            if self._watch.look():
                log.info("= %s has been changed", self._path)
                await self.reload()
            elif self._not_in_force is not None:
                await self._again()

    def state(self) -> SettingsState:
        """What is in force."""
        # A file that is gone is not made anew by an edit.
        there = self._path.exists() or self._simulated_port is not None
        writable = there and os.access(self._path if self._path.exists() else self._path.parent, os.W_OK)
        error = self._error
        if error is None and self._not_in_force is not None:
            error = f"the configuration is read, but not in force: {self._not_in_force}; it is tried again"
        return SettingsState(
            self._epoch,
            self._revision,
            tuple(camera.name for camera in self._current.cameras),
            writable and os.access(self._path.parent, os.W_OK),
            error,
            restart_needed(self._started, self._current),
        )

    # What comes in.

    async def _answer(self, message: Message) -> Message:
        try:
            match message:
                case ReloadRequest():
                    return await self.reload()
                case SettingsRequest(kind, name):
                    return self._entries(kind, name)
                case EditRequest():
                    async with self._busy:
                        return await self._edit(message)
                case OrderRequest():
                    async with self._busy:
                        return await self._order(message)
        except _Refusal as refusal:
            return Refused(refusal.kind, refusal.detail)
        return Refused("internal", f"the keeper takes no {message.TYPE} requests")

    async def reload(self) -> SettingsState:
        """Reads the file; what is wrong with it changes nothing but `error`."""
        async with self._busy:
            self._watch.taken()
            try:
                wanted = self._read()
            except ConfigError as exc:
                self._fail(str(exc))
            else:
                if wanted is not None:
                    await self._take(wanted)
            state = self.state()
            self._client.notify(state)
            return state

    def _read(self) -> Config | None:
        if not self._path.exists():
            if self._simulated_port is not None:
                return None
            raise ConfigError(f"{self._path}: is gone; what was in force stays so")
        wanted = config.load(self._path)
        self._check_login(wanted)
        return wanted

    def _check_login(self, wanted: Config) -> None:
        """Raises ConfigError for a configuration that is in order alone, but not with what is listened on."""
        if wanted.access.auth.mode == "unset" and not self._started.http_on_loopback:
            raise ConfigError(
                f"{self._path}: auth is not written, and until the next start the system listens on "
                f"{self._started.http_host}, where everybody could do everything; "
                "auth may go only after the start that makes http.listen loopback"
            )

    def _fail(self, error: str) -> None:
        if error != self._error:
            log.error("! configuration: %s; what was in force before stays so", error)
        self._error = error

    def _entries(self, kind: Kind, name: str | None) -> Settings:
        entries: tuple[CameraConfig | UserConfig, ...] = self._current.cameras
        if kind == "user":
            entries = self._current.access.auth.users
        return Settings(
            tuple(self._marks.entry(each) for each in entries if name is None or each.name == name)
        )

    async def _edit(self, request: EditRequest) -> Message:
        kind, name = request.kind, request.name
        pattern = CAMERA_NAME if kind == "camera" else USER_NAME
        if not pattern.fullmatch(name):
            raise _Refusal("bad-settings", f"{name[:60]!r} is no name for a {kind}; {_NAME_ALLOWED[kind]}")
        with self._writing():
            text = self._text()
            base = text if text is not None else editing.NEW_FILE
            before = editing.entry_of(config.parse(base, str(self._path), self._path.parent), kind, name)
            self._check_tag(request, before)
            content = _written(request, before)
            edited, after = editing.changed(base, self._path, kind, name, content)
            self._check_login(after)
            editing.write(self._path, edited, text)
        what = "removed" if content is None else "written"
        log.info("= %s %s %s by %s", kind, name, what, request.by, extra={"user": request.by})
        if text is None:
            log.info("= %s was made; the simulated camera goes", self._path)
        await self._take(after)
        self._client.notify(self.state())
        self._check_in_force()
        return self._entries(kind, name)

    async def _order(self, request: OrderRequest) -> Message:
        with self._writing():
            text = self._text()
            if text is None:
                raise _Refusal("bad-settings", f"order: there is no {self._path} yet, make a camera first")
            before = config.parse(text, str(self._path), self._path.parent)
            if request.before not in (None, tuple(camera.name for camera in before.cameras)):
                raise _Refusal("changed-meanwhile", "the cameras stand in another order now; read it again")
            edited, after = editing.reordered(text, self._path, request.cameras)
            self._check_login(after)
            if edited != text:
                editing.write(self._path, edited, text)
        log.info("= cameras put in order by %s", request.by, extra={"user": request.by})
        await self._take(after)
        state = self.state()
        self._client.notify(state)
        self._check_in_force()
        return state

    def _text(self) -> str | None:
        """The file's text; None where the simulated camera shows that none is needed yet."""
        text = editing.read(self._path)
        if text is None and self._simulated_port is None:
            # A new one would take away all else that the file said, users too.
            raise _Refusal("read-only", f"{self._path} is gone; put it back first")
        return text

    def _check_in_force(self) -> None:
        if self._not_in_force is not None:
            raise _Refusal(
                "internal",
                f"{self._path} is written, but not in force: {self._not_in_force}; it is tried again",
            )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """The file is this process's meanwhile, and known afterwards; what is wrong becomes a refusal."""
        try:
            with editing.locked(self._path.resolve()):
                yield
        except NotThere as exc:
            raise _Refusal("unknown", str(exc)) from None
        except ConfigError as exc:
            raise _Refusal("bad-settings", str(exc)) from None
        except NotWritable as exc:
            raise _Refusal("read-only", str(exc)) from None
        self._watch.taken()

    def _check_tag(self, request: EditRequest, before: CameraConfig | UserConfig | None) -> None:
        what = f"{request.kind} {request.name}"
        if request.etag is None:
            return
        if request.etag == "new":
            if before is not None:
                raise _Refusal("exists", f"there is a {what} already")
        elif before is None:
            raise _Refusal("unknown", f"there is no {what} any more")
        elif self._marks.etag(before) != request.etag:
            raise _Refusal("changed-meanwhile", f"the {what} was changed meanwhile; read it again")

    # What follows.

    async def _take(self, wanted: Config) -> None:
        plan = compare(self._applied, wanted)
        same = wanted == self._applied and self._untold.cameras is None
        self._error = None
        self._current = wanted
        if same and self._simulated_port is None:
            return
        self._simulated_port = None
        self._revision += 1
        log.info("= configuration: %s", plan.text() or "cameras as before")
        for key in restart_needed(self._started, wanted):
            log.warning("! configuration: %s takes effect at the next start", key)
        await self._put_in_force()

    async def _again(self) -> None:
        """What could not be put in force is tried again."""
        async with self._busy:
            before = self.state()
            await self._put_in_force()
            if self._not_in_force is None:
                log.info("= configuration: what the file said is in force now")
            if self.state() != before:
                self._client.notify(self.state())

    async def _put_in_force(self) -> None:
        try:
            await asyncio.to_thread(self._apply, self._current)
            self._not_in_force = None
        except (CctvError, OSError) as exc:
            if str(exc) != self._not_in_force:
                log.error("! the configuration is read, but not in force: %s; it is tried again", exc)
            self._not_in_force = str(exc)

    def _apply(self, wanted: Config) -> None:
        self._untold.add(compare(self._applied, wanted).changed)
        # What takes effect at the next start is not for processes that are started again before.
        store_resolved(running(self._started, wanted), self._folder)
        changed = self._untold.cameras or ()
        self._programs.apply(wanted, tuple(each.name for each in wanted.cameras if each.name in changed))
        self._untold.clear()
        self._applied = wanted


def _written(request: EditRequest, before: CameraConfig | UserConfig | None) -> dict[str, Any] | None:
    if request.content is None:
        return None
    try:
        content = json.loads(request.content)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ConfigError("the content is not a JSON object")
    if request.kind == "camera":
        assert before is None or isinstance(before, CameraConfig)
        return written_camera(content, before)
    assert before is None or isinstance(before, UserConfig)
    return written_user(content, before)
