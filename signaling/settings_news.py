"""What the keeper's state means here: which cameras there are, and what is told of it."""

import logging
from collections.abc import Sequence

from common.messages import SettingsState
from signaling.events import EventLog
from signaling.workers import Registry

log = logging.getLogger(__name__)

REMOVED = "the camera was removed from the configuration"


class SettingsNews:
    """Follows the keeper's state."""

    def __init__(self, registry: Registry, events: EventLog) -> None:
        self._registry = registry
        self._events = events
        self._before: SettingsState | None = None

    def heard(self, state: SettingsState) -> None:
        """Takes the cameras over, and tells what is different."""
        before, self._before = self._before, state
        others = self._set_cameras(state.cameras)
        newer = before is not None and (before.epoch, before.revision) != (state.epoch, state.revision)
        if others or newer:
            # Without names: operators hear of it who may not see all cameras.
            self._events.tell("settings", "changed", "the configuration changed")
        if state.error is not None and (before is None or before.error != state.error):
            log.warning("! configuration: %s", state.error)
            self._events.tell("settings", "error", state.error, level="error")

    def _set_cameras(self, cameras: Sequence[str]) -> bool:
        """The configuration names these now; True when some came or went."""
        added, removed = self._registry.set_cameras(cameras)
        for name in added:
            self._events.tell("camera", "added", f"camera {name} was added", camera=name)
        for name in removed:
            self._events.tell("camera", "removed", REMOVED, camera=name)
            self._events.forget_camera(name)
        return bool(added or removed)
