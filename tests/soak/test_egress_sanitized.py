"""The tests of the egress once more over a kernel form that watches its memory (AddressSanitizer, UBSan)."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEADLINE_S = 900


@pytest.mark.soak
def test_no_memory_error_and_no_undefined_behaviour(tmp_path: Path) -> None:
    built = tmp_path / f"_egress{sysconfig.get_config_var('EXT_SUFFIX')}"
    sanitize = "-fsanitize=address,undefined"
    include = sysconfig.get_path("include")
    source = str(ROOT / "fanout/egress_kernel.c")
    command = ["gcc", "-shared", "-fPIC", "-O1", "-g", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all"]
    command += ["-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers", "-Wno-cast-function-type"]
    subprocess.run([*command, sanitize, f"-I{include}", source, "-o", str(built), "-lcrypto"], check=True)
    # The interpreter is not sanitized, so the runtime has to be there before it starts.
    runtime = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], check=True, capture_output=True, text=True
    ).stdout.strip()
    environment = os.environ | {
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0",  # CPython does not free all at its end
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",  # else objects lie in arenas that the sanitizer does not see into
        "CCTV3_TEST_EGRESS_KERNEL": str(built),
    }
    done = subprocess.run(
        # Not captured by that pytest: it would keep to itself what a process says that is ended.
        [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", "tests/fanout/test_egress.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "Sanitizer" not in said, said
    assert "runtime error" not in said, said
