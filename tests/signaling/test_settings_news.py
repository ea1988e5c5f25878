"""Other settings: cameras come and go, and whoever may know hears of it."""

import pytest
from signaling_support import SETTINGS, FakeKeeper, System, eventually

from common.messages import SettingsState
from signaling.problems import Problem
from signaling.settings_news import REMOVED


def told(system: System) -> list[tuple[str, str | None, str]]:
    kinds = ("settings", "camera")
    return [
        (event.what, event.camera, event.text) for event in system.broker.events._kept if event.kind in kinds
    ]


async def test_other_settings_are_taken_over(system: System) -> None:
    heard: list[tuple[int, tuple[str, ...]]] = []

    def on_settings(state: SettingsState) -> None:
        heard.append((state.revision, system.broker.registry.cameras))

    system.broker.on_settings = on_settings
    keeper = await system.add_keeper()
    assert heard == [(1, ("front", "yard"))]
    assert told(system) == []
    keeper.change(revision=2, cameras=("yard", "gate"))
    await eventually(lambda: len(heard) == 2)
    assert heard[1] == (2, ("front", "yard"))
    assert system.broker.registry.cameras == ("yard", "gate")
    assert told(system) == [
        ("added", "gate", "camera gate was added"),
        ("removed", "front", REMOVED),
        ("changed", None, "the configuration changed"),
    ]
    keeper.change(error="config.yaml line 3: no")
    await eventually(lambda: system.broker.settings == keeper.state)
    assert told(system)[3:] == [("error", None, "config.yaml line 3: no")]
    assert [revision for revision, _ in heard] == [1, 2, 2]


async def test_the_cameras_of_a_restarted_keeper_hold(system: System) -> None:
    keeper = FakeKeeper(system.endpoint, SettingsState(7, 3, ("front",), True, None, ())).start()
    system.peers.append(keeper.client)
    await eventually(lambda: system.broker.registry.cameras == ("front",))
    assert [what for what, _, _ in told(system)] == ["removed", "changed"]


async def test_settings_that_cannot_be_taken_over_change_the_cameras_all_the_same(system: System) -> None:
    def on_settings(state: SettingsState) -> None:
        raise RuntimeError("no such file")

    system.broker.on_settings = on_settings
    await system.add_keeper()
    assert system.broker.settings == SETTINGS


async def test_a_removed_camera_ends_its_sessions(system: System) -> None:
    keeper = await system.add_keeper()
    session = await system.open()
    keeper.change(revision=2, cameras=("yard",))
    await eventually(lambda: system.broker.sessions.get(session.id) is None)
    await eventually(lambda: session.id not in system.worker.sessions)
    with pytest.raises(Problem) as raised:
        await system.open()
    assert raised.value.status == 404
