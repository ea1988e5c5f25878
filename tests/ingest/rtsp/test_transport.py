"""The Transport header, asked and answered."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.rtsp.messages import TransportRefused
from ingest.rtsp.quirks import Quirks
from ingest.rtsp.sdp import Track
from ingest.rtsp.transport import Interleaved, Multicast, Unicast, agreed, offer

TRACK = Track("video", "H264", 96, 90_000, 0, (), "rtsp://h/track1")
GROUP = Track("video", "H264", 96, 90_000, 0, (), "rtsp://h/track1", "239.1.2.3", 8860)
PORTS = (5000, 5001)


@pytest.mark.parametrize(
    ("kind", "number", "ports", "text"),
    [
        ("tcp", 0, None, "RTP/AVP/TCP;unicast;interleaved=0-1"),
        ("tcp", 1, PORTS, "RTP/AVP/TCP;unicast;interleaved=2-3"),
        ("udp", 1, PORTS, "RTP/AVP;unicast;client_port=5000-5001"),
        ("multicast", 0, None, "RTP/AVP;multicast"),
    ],
)
def test_offer(kind, number, ports, text):
    assert offer(kind, number, ports) == text


def test_udp_without_ports_is_our_mistake():
    with pytest.raises(ValueError, match="client_ports"):
        offer("udp", 0, None)


AGREED = [
    ("tcp", 'RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=1;mode="play"', Interleaved(0, 1), ()),
    ("tcp", "RTP/AVP/TCP;ssrc= 1;Interleaved = 0 - 1", Interleaved(0, 1), ()),
    ("tcp", "rtp/avp/tcp;unicast;interleaved=4-5", Interleaved(4, 5), ("other-channels",)),
    ("tcp", "RTP/AVP/TCP;unicast;interleaved=0", Interleaved(0, 1), ()),
    ("tcp", "RTP/AVP/TCP;unicast;interleaved=0-0", Interleaved(0, 1), ()),
    ("tcp", "RTP/AVP/TCP;unicast;interleaved=3-2", Interleaved(3, 2), ("other-channels",)),
    ("tcp", "RTP/AVP/TCP;unicast", Interleaved(0, 1), ("channels-left-out",)),
    ("tcp", None, Interleaved(0, 1), ("channels-left-out",)),
    ("tcp", "", Interleaved(0, 1), ("channels-left-out",)),
    ("tcp", "RTP/AVP;unicast;interleaved=0-1", Interleaved(0, 1), ()),
    ("tcp", "RTP/AVP/TCP;unicast;interleaved=8-9", Interleaved(0, 1), ("same-channels",)),
    (
        "tcp",
        "RTP/AVP;unicast;client_port=1-2;server_port=6-7",
        Unicast(*PORTS, None, 6, 7),
        ("other-transport",),
    ),
    (
        "udp",
        "RTP/AVP;unicast;client_port=5000-5001;server_port=6970-6971",
        Unicast(*PORTS, None, 6970, 6971),
        (),
    ),
    (
        "udp",
        "RTP/AVP;unicast;source=10.0.0.2;client_port=1-2;server_port=6970",
        Unicast(*PORTS, "10.0.0.2", 6970, 6971),
        (),
    ),
    ("udp", "RTP/AVP;source=0.0.0.0;server_port=6970-6972", Unicast(*PORTS, None, 6970, 6972), ()),
    *(
        ("udp", f"RTP/AVP;source={source};server_port=6-7", Unicast(*PORTS, None, 6, 7), ())
        for source in (
            *("127.0.0.1", "239.0.0.1", "255.255.255.255", "::1", "ff02::1", "::ffff:127.0.0.1"),
            *("fe80::1%eth0", f"[fe80::1%{'é' * 70}]"),
        )
    ),
    (
        "udp",
        "RTP/AVP;unicast;source=cam;server_port=0-0",
        Unicast(*PORTS, None, None, None),
        ("no-server-port",),
    ),
    ("udp", "RTP/AVP;unicast;client_port=1-2", Unicast(*PORTS, None, None, None), ("no-server-port",)),
    ("udp", "", Unicast(*PORTS, None, None, None), ("no-server-port",)),
    ("udp", "RTP/AVP/TCP;unicast;interleaved=0-1", Interleaved(0, 1), ("other-transport",)),
    (
        "udp",
        "RTP/AVP/UDP;destination=239.9.9.9;port=1234-1235;ttl=1;mode=play",
        Multicast("239.9.9.9", 1234, 1235, None),
        ("other-transport",),
    ),
    (
        "multicast",
        "RTP/AVP;multicast;destination=239.9.9.9;port=1234;ttl=16;source=10.0.0.2",
        Multicast("239.9.9.9", 1234, 1235, "10.0.0.2"),
        (),
    ),
    ("multicast", "RTP/AVP;multicast", Multicast("239.1.2.3", 8860, 8861, None), ()),
    ("multicast", None, Multicast("239.1.2.3", 8860, 8861, None), ()),
    (
        "multicast",
        "RTP/AVP;multicast;destination=ff02::1%é;source=fe80::1%é",
        Multicast("239.1.2.3", 8860, 8861, None),
        (),
    ),
    ("multicast", "RTP/AVP;multicast;client_port=70-71", Multicast("239.1.2.3", 70, 71, None), ()),
    ("multicast", "RTP/AVP;unicast;server_port=6-7", Unicast(*PORTS, None, 6, 7), ("other-transport",)),
]


@pytest.mark.parametrize(("kind", "header", "transport", "names"), AGREED)
def test_agreed(kind, header, transport, names):
    quirks = Quirks()
    assert agreed(header, kind, 0, PORTS, GROUP, {8, 9}, quirks) == transport
    assert quirks.names == names


@pytest.mark.parametrize("address", ["ff02::1%é", "somewhere"])
def test_a_group_of_the_description_that_is_none(address):
    track = Track("video", "H264", 96, 90_000, 0, (), "rtsp://h/track1", address, 8860)
    with pytest.raises(TransportRefused, match="does not say where"):
        agreed("RTP/AVP;multicast", "multicast", 0, None, track, (), Quirks())


@pytest.mark.parametrize(
    ("kind", "header", "ports", "error"),
    [
        ("tcp", "RTP/AVP;unicast;client_port=1-2;server_port=3-4", None, "send by UDP although TCP"),
        ("tcp", "RTP/AVP;multicast;destination=239.0.0.1;port=3-4", PORTS, "send by multicast although TCP"),
        ("tcp", "RTP/AVP/TCP;interleaved=300-301", PORTS, "channels '300-301'"),
        ("tcp", "RTP/AVP/TCP;interleaved=255", PORTS, "channels '255'"),
        ("tcp", "RTP/AVP/TCP;interleaved=0-1", PORTS, "channels 0 and 1 for two tracks"),
        ("tcp", "", PORTS, "channels 0 and 1 for two tracks"),
        ("multicast", "RTP/AVP;multicast;port=3-4", PORTS, "does not say where"),
        ("multicast", "RTP/AVP;multicast;destination=239.0.0.1", PORTS, "does not say where"),
        ("multicast", "RTP/AVP;multicast;destination=10.0.0.1;port=3-4", PORTS, "does not say where"),
        ("multicast", "", PORTS, "does not say where"),
    ],
)
def test_refused(kind, header, ports, error):
    with pytest.raises(TransportRefused, match=error):
        agreed(header, kind, 0, ports, TRACK, {0, 1}, Quirks())


PARAMETERS = st.one_of(
    st.sampled_from(["RTP/AVP", "RTP/AVP/TCP", "unicast", "multicast", "interleaved", "ttl=", ","]),
    st.builds(
        "{}={}".format,
        st.sampled_from(["interleaved", "client_port", "server_port", "port", "destination", "source"]),
        st.one_of(
            st.text(max_size=9),
            st.integers(-1, 70_000),
            st.sampled_from(["0-1", "::1", "239.0.0.1", "ff02::1%é"]),
        ),
    ),
)


@given(
    st.lists(PARAMETERS, max_size=8),
    st.sampled_from(["tcp", "udp", "multicast"]),
    st.sampled_from([TRACK, GROUP]),
)
def test_fuzz_only_the_documented_error(parameters, kind, track):
    with contextlib.suppress(TransportRefused):
        transport = agreed(";".join(parameters), kind, 1, PORTS, track, {0, 1}, Quirks())
        if isinstance(transport, Interleaved):
            assert len({transport.rtp_channel, transport.rtcp_channel, 0, 1}) == 4
