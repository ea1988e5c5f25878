"""The whole system under supervisord: only the camera that is meant is touched."""

import asyncio
import os
import signal
from pathlib import Path

import aiohttp
import psutil
import yaml

from common import supervision
from common.lifecycle import EXIT_CONFIG
from tests.support.ports import free_tcp_port
from tests.support.processes import simulated_camera
from tests.support.system import System, running_system


async def until_pids(system: System, *cameras: str) -> dict[str, int]:
    """Waits until exactly these cameras have processes."""

    def there() -> bool:
        return {name for name in system.pids() if name.startswith("ingest-")} == {
            f"ingest-{camera}" for camera in cameras
        }

    await system.until(there)
    return system.pids()


def secrets_for_others(folder: Path) -> list[Path]:
    """Files with a password in them that not only their owner may read."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    holding = [path for path in files if "s3cret" in path.read_text()]
    assert holding
    return [path for path in holding if path.stat().st_mode & 0o077]


async def test_cameras_come_change_and_go_alone() -> None:
    port = free_tcp_port()
    async with (
        simulated_camera(port),
        running_system(
            {name: {"url": f"rtsp://who:s3cret@127.0.0.1:{port}/simulated"} for name in ("a", "b")}
        ) as system,
    ):
        await system.until_live("a")
        before = await until_pids(system, "a", "b")
        path = system.run_folder.parent / "config.yaml"
        content = yaml.safe_load(path.read_text())
        # By file: one comes, one changes, one stays.
        content["cameras"]["c"] = {"url": f"rtsp://127.0.0.1:{port}/simulated"}
        content["cameras"]["b"]["audio"] = False
        path.write_text("# mine\n" + yaml.safe_dump(content))
        await system.until_live("c")
        now = await until_pids(system, "a", "b", "c")
        assert now["ingest-b"] != before["ingest-b"]
        assert {name: now[name] for name in before if name != "ingest-b"} == {
            name: pid for name, pid in before.items() if name != "ingest-b"
        }
        # A bad file, and SIGHUP to the foreground process: nothing happens, and it is said.
        path.write_text("cameras: [")
        os.kill(psutil.Process(system.pid("keeper")).ppid(), signal.SIGHUP)
        async with aiohttp.ClientSession() as client:

            async def said() -> bool:
                async with client.get(f"{system.url}/api/v1/configuration") as response:
                    return "is not YAML" in str((await response.json())["error"])

            await system.until(said)
            await system.until(lambda: "asked to read" in system.log_text())
            assert system.pids() == now
            refused = await system.command("reload")
            assert refused[0] == EXIT_CONFIG and "is not YAML" in refused[1]
            path.write_text("# mine\n" + yaml.safe_dump(content))
            assert (await system.command("reload"))[0] == 0
            order = {"order": ["c", "a", "b"]}
            async with client.put(f"{system.url}/api/v1/cameras-order", json=order) as response:
                assert response.status == 200
            async with client.get(f"{system.url}/api/v1/cameras") as response:
                assert [camera["name"] for camera in await response.json()] == order["order"]
            assert list(yaml.safe_load(path.read_text())["cameras"]) == order["order"]
            assert system.pids() == now
            async with client.delete(f"{system.url}/api/v1/cameras/a", headers={"If-Match": "*"}) as response:
                assert response.status == 204
        assert "# mine" in path.read_text() and "a" not in yaml.safe_load(path.read_text())["cameras"]
        after = await until_pids(system, "b", "c")
        assert after == {name: pid for name, pid in now.items() if name != "ingest-a"}
        # A keeper that is killed knows again what is in force, and ends what it may have been at.
        with supervision._calls(system.run_folder) as supervisor:
            supervisor.stopProcessGroup("ingest-c")
        system.kill("keeper")
        await system.until(lambda: system.pid("keeper") != now["keeper"] and system.pid("ingest-c"))
        others = after.keys() - {"keeper", "ingest-c"}
        assert {name: system.pid(name) for name in others} == {name: after[name] for name in others}
        assert secrets_for_others(system.run_folder) == []
        family = psutil.Process(psutil.Process(system.pid("keeper")).ppid()).children(recursive=True)
        assert not [child for child in family if "s3cret" in " ".join(child.cmdline())]
        assert "s3cret" not in system.log_text()


async def test_without_supervisord_the_programs_end() -> None:
    async with asyncio.timeout(60):
        try:
            async with running_system({"a": {"url": "rtsp://127.0.0.1:1/x"}}) as system:
                parent = psutil.Process(psutil.Process(system.pid("signaling")).ppid())
                family = parent.children(recursive=True)
                assert len(family) >= 4
                parent.kill()
                gone, alive = await asyncio.to_thread(psutil.wait_procs, family, 10)
                for process in alive:
                    process.kill()
                assert not alive and len(gone) == len(family)
        except AssertionError as exc:
            assert "supervisord ended by itself" in str(exc)
