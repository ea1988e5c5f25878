"""Viewers that finished the handshake and then misbehave: nobody else notices, nothing stays behind."""

import asyncio
import os
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from OpenSSL import SSL

from common.messages import Answer, FanoutHello, SessionEnded, WorkerReport
from common.rtp import Goodbye, KeyframeRequest, ReceiverReport, serialize_rtcp
from tests.fanout.test_worker import GOP, Box
from tests.support.viewer import Viewer


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    box = Box(tmp_path)
    await box.until(FanoutHello)
    yield box
    await box.close()


@pytest.fixture
async def pair(box: Box) -> AsyncIterator[tuple[Viewer, Viewer]]:
    """An innocent viewer and one that will not be."""
    innocent, hostile = Viewer(decrypt=True), Viewer(decrypt=True)
    await box.watch(innocent)
    await box.watch(hostile)
    yield innocent, hostile
    innocent.close()
    hostile.close()


async def goes_on(viewer: Viewer) -> None:
    seen = len(viewer.access_units)
    await viewer.until(lambda: len(viewer.access_units) > seen + 2 * GOP)
    assert viewer.totals().lost == 0 and viewer.faults == []


async def test_oversized_and_forged_rtcp(
    pair: tuple[Viewer, Viewer], caplog: pytest.LogCaptureFixture
) -> None:
    innocent, hostile = pair
    for size in (4, 8, 12, 28, 200, 1499, 1501, 1700, 2048):
        hostile.send_raw(struct.pack("!BBHI", 0x80, 201, 1, 7) + os.urandom(size))
    await goes_on(innocent)
    assert not [record for record in caplog.records if record.exc_info]


async def test_authentic_rtcp_that_is_not_rtcp(
    pair: tuple[Viewer, Viewer], caplog: pytest.LogCaptureFixture
) -> None:
    innocent, hostile = pair
    assert hostile.srtp is not None
    for body in (b"", b"\x80", os.urandom(40), struct.pack("!BBH", 0x9F, 200, 2) + bytes(8)):
        packet = struct.pack("!BBHI", 0x80, 201, 1, 7) + body
        hostile.send_raw(hostile.srtp.outbound.protect_rtcp(packet))
    await goes_on(innocent)
    assert not [record for record in caplog.records if record.exc_info]


async def test_rtcp_of_ten_thousand_senders_is_bounded(pair: tuple[Viewer, Viewer], box: Box) -> None:
    innocent, hostile = pair
    assert hostile.srtp is not None
    for ssrc in range(1, 1000):
        hostile.send_raw(hostile.srtp.outbound.protect_rtcp(serialize_rtcp(ReceiverReport(ssrc))))
        if ssrc % 100 == 0:
            await asyncio.sleep(0)
    await goes_on(innocent)
    senders = [len(viewer._dtls._rtcp_senders) for viewer in box.worker._viewers.values()]
    assert max(senders) == 32


async def test_goodbye_with_a_keyframe_request_sends_nothing_more(
    pair: tuple[Viewer, Viewer], box: Box
) -> None:
    innocent, hostile = pair
    assert hostile.srtp is not None
    ssrc = hostile.reception.ssrc
    compound = (ReceiverReport(7), Goodbye((7,)), KeyframeRequest(7, ssrc))
    hostile.send_raw(hostile.srtp.outbound.protect_rtcp(b"".join(map(serialize_rtcp, compound))))
    await box.until(SessionEnded)
    await asyncio.sleep(0.1)
    seen = len(hostile.packets)
    await asyncio.sleep(0.3)
    assert len(hostile.packets) == seen
    await goes_on(innocent)


async def test_dtls_application_data_is_not_kept(pair: tuple[Viewer, Viewer], box: Box) -> None:
    innocent, hostile = pair
    connection = hostile._dtls._ssl  # type: ignore[union-attr]
    for _ in range(50):
        records = b""
        for _ in range(20):
            connection.send(b"x" * 20)
            records += connection.bio_read(1500)
        hostile.send_raw(records)
    await goes_on(innocent)
    for viewer in box.worker._viewers.values():
        with pytest.raises(SSL.WantReadError):
            viewer._dtls._ssl.recv(1500)  # type: ignore[union-attr]


async def test_a_payload_type_of_four_million_stops_nobody(box: Box) -> None:
    innocent, hostile = Viewer(decrypt=True), Viewer()
    await box.watch(innocent)
    sdp = hostile.offer()
    for payload_type in ("102", "106", "112", "127"):
        sdp = sdp.replace(f":{payload_type} ", f":4000{payload_type} ")
    await box.offer(sdp)
    await goes_on(innocent)
    innocent.close()
    hostile.vanish()


async def test_a_certificate_that_cannot_be_parsed_leaves_nothing_behind(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: object, **__: object) -> None:
        raise ValueError("InvalidVersion")

    viewer = Viewer()
    answer = await box.offer(viewer.offer())
    assert isinstance(answer, Answer)
    monkeypatch.setattr("fanout.dtls.DtlsServer._validate_peer_identity", unreadable)
    await viewer.connect(answer.sdp)
    ended = await box.until(SessionEnded)
    assert isinstance(ended, SessionEnded) and "ValueError" in ended.reason
    box.messages.clear()
    report = await box.until(WorkerReport)
    assert isinstance(report, WorkerReport) and report.viewers == 0
    viewer.vanish()
