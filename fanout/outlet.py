"""Where one viewer's packets go: the selected path, for all lanes of the viewer."""

from fanout.egress import Egress, Lane
from fanout.ice.paths import Path
from fanout.packetizing.packetized import Runs


class Outlet:
    """Sends on whichever path is selected: by the egress, or by the path itself."""

    def __init__(self, egress: Egress, path: Path) -> None:
        self._egress = egress
        self._lanes: list[Lane] = []
        self.path = path
        self.direct = path.destination is not None
        "The egress sends by itself: the path is UDP of the worker's port."

    def add(self, lane: Lane) -> None:
        """Takes a lane; it is sent on the path from now on."""
        self._lanes.append(lane)
        if self.path.destination is not None:
            lane.aim(self.path.destination)

    def aim(self, path: Path) -> None:
        """Everything goes on another path from now on."""
        self.path = path
        self.direct = path.destination is not None
        if path.destination is not None:
            for lane in self._lanes:
                lane.aim(path.destination)

    def send(self, lane: Lane, runs: Runs, timestamp: int, marker: bool, capture_ntp: int) -> bool:
        """Sends runs of one access unit; False when the way did not take all of them."""
        if self.direct:
            return self._egress.send(lane, runs, timestamp, marker, capture_ntp)
        packets: list[bytes] = []
        last = len(runs) - 1
        for position, run in enumerate(runs):
            packets += lane.protect(run, timestamp, marker and position == last, capture_ntp)
        return self.path.send_packets(packets)
