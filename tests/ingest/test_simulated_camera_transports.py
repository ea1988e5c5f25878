"""Transport headers, read and answered."""

import pytest

from ingest.simulated.transports import Interleaved, Multicast, Offered, Unicast, answer, choose

GROUP = Multicast("239.255.1.2", 10_000, 10_001)
ALL = Offered((40_000, 40_001), GROUP)
TCP_ONLY = Offered(None, None)


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("RTP/AVP/TCP;unicast;interleaved=0-1", Interleaved(0, 1)),
        ("RTP/AVP/TCP;interleaved=2", Interleaved(2, 3)),
        ("RTP/AVP/TCP;unicast", Interleaved(2, 3)),
        ("rtp/avp/tcp; unicast; interleaved=4-5", Interleaved(4, 5)),
        ("RTP/AVP/TCP;interleaved=255", None),
        ("RTP/AVP/TCP;interleaved=255-256", None),
        ("RTP/AVP/TCP;interleaved=3-3", None),
        ("RTP/AVP;unicast;client_port=5000-5001", Unicast(5000, 5001)),
        ("RTP/AVP/UDP;unicast;client_port=5000", Unicast(5000, 5001)),
        ("RTP/AVP;unicast;client_port=5000-7000;mode=play", Unicast(5000, 7000)),
        ("RTP/AVP;unicast;client_port=0-1", None),
        ("RTP/AVP;unicast;client_port=65535", None),
        ("RTP/AVP;unicast", None),
        ("RTP/AVP;multicast", GROUP),
        ("RTP/AVP;multicast;port=1-2", GROUP),
        ("RTP/SAVP;unicast;client_port=5000-5001", None),
        ("RTP/SAVP;unicast;client_port=1-2,RTP/AVP/TCP;interleaved=6-7", Interleaved(6, 7)),
        ("", None),
    ],
)
def test_the_first_possible_choice(header, chosen) -> None:
    assert choose(header, 1, ALL) == chosen


@pytest.mark.parametrize("header", ["RTP/AVP;unicast;client_port=5000-5001", "RTP/AVP;multicast"])
def test_not_offered(header: str) -> None:
    assert choose(header, 0, TCP_ONLY) is None
    assert choose(f"{header},RTP/AVP/TCP", 0, TCP_ONLY) == Interleaved(0, 1)


def test_answers() -> None:
    assert answer(Interleaved(4, 5), ALL, 0xAB) == "RTP/AVP/TCP;unicast;interleaved=4-5;ssrc=000000AB"
    assert answer(Unicast(6, 7), ALL, 1) == (
        "RTP/AVP;unicast;client_port=6-7;server_port=40000-40001;ssrc=00000001"
    )
    assert answer(GROUP, ALL, 1) == "RTP/AVP;multicast;destination=239.255.1.2;port=10000-10001;ttl=1"
