"""A network namespace behind a virtual cable, to put a camera in and pull the cable.

with namespace() as far:
    async with gst_camera(inside=far, host=far.address) as camera:
        far.pull_cable()
"""

import contextlib
import itertools
import os
import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

_numbers = itertools.count()
_BLOCK = "198.18"  # RFC 2544 section C.2.2: for tests, in nobody's network


def _ip(*arguments: str) -> None:
    """Runs ip(8); raises CalledProcessError."""
    subprocess.run(("ip", *arguments), check=True, capture_output=True, text=True, timeout=10)


@dataclass(frozen=True, slots=True)
class Namespace:
    """The far end of the cable."""

    name: str
    address: str
    near: str
    "The address of our end."

    @property
    def command(self) -> tuple[str, ...]:
        """Put before a command to run it in there."""
        return ("ip", "netns", "exec", self.name)

    def pull_cable(self) -> None:
        """Nothing comes through, and our end has no carrier; addresses and routes stay on our side."""
        _ip("-netns", self.name, "link", "set", "far", "down")

    def plug_cable(self) -> None:
        """As before."""
        _ip("-netns", self.name, "link", "set", "far", "up")
        # The kernel drops this route with the link; without it a camera can send to no multicast group.
        _ip("-netns", self.name, "route", "replace", "224.0.0.0/4", "dev", "far")


@contextlib.contextmanager
def namespace() -> Iterator[Namespace]:
    """Makes it, and removes it with its cable; skips the test where this is not permitted."""
    name = f"cctv3-{os.getpid()}-{next(_numbers)}"
    near = f"cctv3v{random.randrange(1 << 24):06x}"  # 15 characters at most
    net = f"{_BLOCK}.{random.randrange(256)}.{random.randrange(64) * 4}"
    host, last = net.rsplit(".", 1)
    near_address, far_address = f"{host}.{int(last) + 1}", f"{host}.{int(last) + 2}"
    far = Namespace(name, far_address, near_address)
    try:
        _ip("netns", "add", name)
        # To enter it ip(8) remounts the root, which a chroot without a mount of its own does not allow.
        _ip("-netns", name, "link")
    except (OSError, subprocess.CalledProcessError) as exc:
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            _ip("netns", "delete", name)
        reason = getattr(exc, "stderr", None) or exc
        pytest.skip(f"no network namespaces here, they need root and CAP_SYS_ADMIN: {reason}")
    try:
        _ip("link", "add", near, "type", "veth", "peer", "name", "far", "netns", name)
        _ip("address", "add", f"{near_address}/30", "dev", near)
        _ip("link", "set", near, "up")
        _ip("-netns", name, "address", "add", f"{far_address}/30", "dev", "far")
        _ip("-netns", name, "link", "set", "lo", "up")
        far.plug_cable()
        yield far
    finally:
        # The kernel removes the cable with the namespace, and the namespace once no process is in it.
        _ip("netns", "delete", name)
