"""A live unit on its way to many viewers: a large one leaves in portions, each to all of them in one call."""

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fanout.backlog import BURST_PACKETS, PORTION_PACKETS
from fanout.egress import Egress, Lane
from fanout.packetizing.packetized import PacketizedUnit, Runs

PERIOD_S = 0.004
# A burst to so many takes about a period.
GROUP_VIEWERS = 48
# The last portion leaves a little before the next unit comes.
SHARE_OF_FRAME = 0.8


class Recipient(Protocol):
    """A viewer's side."""

    def is_owed(self, unit: PacketizedUnit) -> bool:
        """What is left of the unit is still to be sent: nothing else went out meanwhile."""
        ...

    def refused(self) -> None:
        """The kernel did not take its packets."""
        ...


def portions(runs: Runs, first: int, others: int) -> list[Runs]:
    """Cuts runs so that the first portion has at most so many packets, and each other one so many."""
    cut: list[Runs] = []
    portion: list[tuple[bytes, ...]] = []
    room = first
    for run in runs:
        at = 0
        while at < len(run):
            part = run if at == 0 and len(run) <= room else run[at : at + room]
            portion.append(part)
            at += len(part)
            room -= len(part)
            if not room:
                cut.append(tuple(portion))
                portion, room = [], others
    if portion:
        cut.append(tuple(portion))
    return cut


@dataclass(slots=True)
class _Group:
    """Some of the viewers, with what is left for them."""

    recipients: list[tuple[Recipient, Lane]]
    rest: deque[Runs]
    due: float = 0.0


class Delivery:
    """One unit at a time; what is left of one goes out when the next one comes, at the latest.

    A large unit for many viewers takes longer than a period: the viewers then take turns in groups, and a
    group that has begun goes first. So most of them have all of it early, instead of everybody late.
    """

    def __init__(self, egress: Egress) -> None:
        self._egress = egress
        self._unit: PacketizedUnit | None = None
        self._marker = False
        self._begun: deque[_Group] = deque()
        self._waiting: deque[_Group] = deque()
        self._handle: asyncio.Handle | None = None

    def send(
        self,
        unit: PacketizedUnit,
        recipients: Sequence[tuple[Recipient, Lane]],
        marker: bool,
        packets_per_s: float,
        frame_s: float,
    ) -> None:
        """Sends a unit: up to BURST_PACKETS at once, the rest at a rate, but before the next unit."""
        if unit.packets <= BURST_PACKETS:
            self._emit(unit, recipients, unit.runs, marker)
            return
        self._unit, self._marker = unit, marker
        periods = max(1, int(SHARE_OF_FRAME * frame_s / PERIOD_S))
        least = math.ceil((unit.packets - BURST_PACKETS) / periods)
        portion = max(PORTION_PACKETS, least, int(packets_per_s * PERIOD_S))
        cut = portions(unit.runs, BURST_PACKETS, portion)
        for at in range(0, len(recipients), GROUP_VIEWERS):
            self._waiting.append(_Group(list(recipients[at : at + GROUP_VIEWERS]), deque(cut)))
        self._go_on()

    def finish(self) -> None:
        """Sends what is left at once."""
        for group in (*self._begun, *self._waiting):
            while group.rest:
                self._send_portion(group)
        self.cancel()

    def cancel(self) -> None:
        """Sends no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._begun.clear()
        self._waiting.clear()

    def _go_on(self) -> None:
        """One portion for one group, then a turn of the event loop."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        # All wait for the same time, so the groups that have begun stand in the order they are due.
        if self._begun and (self._begun[0].due <= now or not self._waiting):
            group = self._begun.popleft()
        else:
            group = self._waiting.popleft()
        group.due = now + PERIOD_S
        self._send_portion(group)
        if group.rest:
            self._begun.append(group)
        if self._waiting:
            self._handle = loop.call_soon(self._go_on)
        elif self._begun:
            self._handle = loop.call_at(self._begun[0].due, self._go_on)
        else:
            self._handle = None

    def _send_portion(self, group: _Group) -> None:
        unit = self._unit
        assert unit is not None
        runs = group.rest.popleft()
        recipients = [each for each in group.recipients if each[0].is_owed(unit)]
        if not recipients:
            group.rest.clear()
            return
        self._emit(unit, recipients, runs, self._marker and not group.rest)

    def _emit(
        self, unit: PacketizedUnit, recipients: Sequence[tuple[Recipient, Lane]], runs: Runs, marker: bool
    ) -> None:
        lanes = [lane for _, lane in recipients]
        refused = self._egress.send_many(lanes, runs, unit.timestamp, marker, unit.capture_ntp)
        for position in refused:
            recipients[position][0].refused()
