import subprocess
import sys
from importlib.metadata import EntryPoint
from importlib.util import find_spec

import pytest

from common import command


def cctv3(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "common.command", *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_help(word):
    result = cctv3(word)
    assert (result.returncode, result.stderr) == (0, "")
    for name, (_, summary) in command.COMMANDS.items():
        assert f"  {name}" in result.stdout and summary in result.stdout


@pytest.mark.parametrize("arguments", [(), ("paint", "--json")])
def test_no_such_command(arguments):
    result = cctv3(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert ("there is no command 'paint'" in result.stderr) == bool(arguments)
    assert "probe" in result.stderr


@pytest.mark.parametrize("name", command.COMMANDS)
def test_commands_are_there(name):
    result = cctv3(name, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("usage: ")


def test_exit_status_is_the_commands_own():
    result = cctv3("probe", "file:///no/such/file")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert cctv3("run", "--config", "/no/such/file").returncode == 78


def test_modules_are_found_by_name_only():
    """So that `common` imports no room."""
    for module, _ in command.COMMANDS.values():
        assert find_spec(module) is not None
        assert not hasattr(command, module.split(".")[0])


def test_installed_script():
    script = EntryPoint("cctv3", "common.command:main", "console_scripts")
    assert script.load() is command.main
