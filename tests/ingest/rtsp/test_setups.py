"""Tracks that are set up one after the other."""

from ingest.rtsp.events import RtcpData, RtpData, SessionOptions
from ingest.rtsp.messages import Headers, InterleavedFrames
from ingest.rtsp.quirks import Quirks
from ingest.rtsp.sdp import Track
from ingest.rtsp.setups import Setups
from ingest.rtsp.transport import Interleaved, Unicast

VIDEO = Track("video", "H264", 96, 90_000, 0, (), "rtsp://h/v")
AUDIO = Track("audio", "PCMA", 8, 8000, 1, (), "rtsp://h/a")


def answer(transport):
    return Headers((("Transport", transport),))


def test_interleaved():
    setups = Setups(SessionOptions(), Quirks())
    setups.wanted = (VIDEO, AUDIO)
    assert setups.next() == ("rtsp://h/v", "RTP/AVP/TCP;unicast;interleaved=0-1")
    assert setups.answered(answer("RTP/AVP/TCP;interleaved=4-5")).transport == Interleaved(4, 5)
    assert setups.next() == ("rtsp://h/a", "RTP/AVP/TCP;unicast;interleaved=2-3")
    assert setups.answered(answer("RTP/AVP/TCP;interleaved=2-3")).track == 1
    assert setups.next() is None
    assert setups.done == [VIDEO, AUDIO]
    assert setups.channels == {2, 3, 4, 5}
    assert [setups.rtcp_channel(track) for track in (0, 1, 2)] == [5, 3, None]
    assert setups.media(InterleavedFrames(4, [b"v"])) == RtpData(0, [b"v"])
    assert setups.media(InterleavedFrames(3, [b"r"])) == RtcpData(1, [b"r"])
    assert setups.media(InterleavedFrames(0, [b"?"])) is None


def test_a_refused_track_leaves_its_ports_to_the_next():
    setups = Setups(SessionOptions("udp", client_ports=((5000, 5001), (5002, 5003))), Quirks())
    setups.wanted = (VIDEO, AUDIO)
    assert setups.next() is not None
    assert setups.next() == ("rtsp://h/a", "RTP/AVP;unicast;client_port=5000-5001")
    setup = setups.answered(answer("RTP/AVP;server_port=6-7"))
    assert (setup.track, setup.description) == (0, AUDIO)
    assert setup.transport == Unicast(5000, 5001, None, 6, 7)
    assert setups.channels == frozenset()
