"""The keeper's settings as signaling sees them, and what it is asked for."""

import asyncio
import logging

import pytest
from signaling_support import FakeKeeper, System, eventually

from common.messages import (
    Done,
    EditRequest,
    OrderRequest,
    RefusalKind,
    Refused,
    ReloadRequest,
    SettingsEntry,
    SettingsRequest,
)
from signaling.keeper_link import PING, SILENCE_S
from signaling.problems import Problem


async def test_only_the_keeper_has_settings(system: System, caplog: pytest.LogCaptureFixture) -> None:
    other = FakeKeeper(system.endpoint).start("fanout-w9")
    system.peers.append(other.client)
    with caplog.at_level(logging.WARNING):
        await eventually(lambda: "fanout-w9 sent settings-state" in caplog.text)
    assert system.broker.settings is None


async def test_a_silent_keeper_is_not_up(system: System) -> None:
    keeper = await system.add_keeper()
    system.clock.now_s += SILENCE_S - 0.1
    system.broker.tick()  # asks it for a sign of life
    assert system.broker.settings is not None
    keeper.client.close()
    system.clock.now_s += 2 * SILENCE_S
    system.broker.tick()
    assert system.broker.settings is None
    back = FakeKeeper(system.endpoint).start()
    system.peers.append(back.client)
    await eventually(lambda: system.broker.settings is not None)


async def test_a_keeper_is_asked_who_it_is_after_a_restart_of_signaling(system: System) -> None:
    await system.add_keeper()
    await system.stop()
    await system.start()
    async with asyncio.timeout(10):
        while system.broker.settings is None:
            system.clock.now_s += 1.0
            system.broker.tick()
            await asyncio.sleep(0.02)


async def test_a_keeper_that_lives_says_so_when_asked(system: System) -> None:
    keeper = await system.add_keeper()
    heard = system.broker._keeper._heard_s
    system.clock.now_s += SILENCE_S - 0.1
    system.broker.tick()
    await eventually(lambda: system.broker._keeper._heard_s != heard)
    assert keeper.requests == [PING]
    system.clock.now_s += SILENCE_S - 0.1
    system.broker.tick()
    assert system.broker.settings is not None


async def test_entries_and_edits(system: System) -> None:
    keeper = await system.add_keeper()
    (entry,) = await system.broker.edit("camera", "gate", '{"url": "rtsp://gate"}', "new", "root")
    assert entry == SettingsEntry("gate", '{"url": "rtsp://gate"}', '{"url": "rtsp://gate"}')
    assert keeper.requests == [EditRequest("camera", "gate", '{"url": "rtsp://gate"}', "new", "root")]
    assert await system.broker.entries("camera", None) == (entry,)
    assert await system.broker.entries("camera", "gate") == (entry,)
    with pytest.raises(Problem) as raised:
        await system.broker.entries("camera", "yard")
    assert raised.value.status == 404
    assert keeper.requests[-1] == SettingsRequest("camera", "yard")
    assert await system.broker.reload("root") == keeper.state
    assert keeper.requests[-1] == ReloadRequest()
    state = await system.broker.order(["yard", "front"], ("front", "yard"), "root")
    assert state.cameras == system.broker.registry.cameras == ("yard", "front")
    assert keeper.requests[-1] == OrderRequest(("yard", "front"), ("front", "yard"), "root")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("bad-settings", 422),
        ("unknown", 404),
        ("exists", 412),
        ("changed-meanwhile", 412),
        ("read-only", 409),
    ],
)
async def test_refused_edits(system: System, kind: RefusalKind, status: int) -> None:
    keeper = await system.add_keeper()
    keeper.reply = Refused(kind, "cameras.gate.url: no")
    with pytest.raises(Problem, match="url: no") as raised:
        await system.broker.edit("camera", "gate", "{}", None, "root")
    assert raised.value.status == status
    with pytest.raises(Problem, match="url: no") as raised:
        await system.broker.order(["yard"], None, "root")
    assert raised.value.status == status


async def test_a_strange_keeper(system: System) -> None:
    keeper = await system.add_keeper()
    keeper.reply = Done()
    for asked in (
        system.broker.entries("user", None),
        system.broker.reload("root"),
        system.broker.order([], None, "root"),
    ):
        with pytest.raises(Problem) as raised:
            await asked
        assert raised.value.status == 500


async def test_without_a_keeper(system: System) -> None:
    with pytest.raises(Problem, match="not up") as raised:
        await system.broker.reload("root")
    assert (raised.value.status, raised.value.headers["Retry-After"]) == (503, "1")


async def test_a_keeper_that_takes_too_long(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signaling.keeper_link.DEADLINE_S", 0.05)
    keeper = await system.add_keeper()
    keeper.silent = True
    with pytest.raises(Problem, match="look whether it did") as raised:
        await system.broker.reload("root")
    assert raised.value.status == 503
