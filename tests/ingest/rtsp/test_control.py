"""Control URLs as cameras mean them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.rtsp.control import base_url, join_control, names_other_host
from ingest.rtsp.messages import Headers
from ingest.rtsp.quirks import Quirks

BASE = "rtsp://10.0.0.9:554/stream"


@pytest.mark.parametrize(
    ("base", "control", "url"),
    [
        (BASE, None, BASE),
        (BASE, "", BASE),
        (BASE, "*", BASE),
        (BASE, "trackID=1", BASE + "/trackID=1"),
        (BASE + "/", "trackID=1", BASE + "/trackID=1"),
        (BASE, "/trackID=1", BASE + "/trackID=1"),
        (BASE + "?ch=1&s=0", "trackID=1", BASE + "?ch=1&s=0/trackID=1"),
        (BASE + "?ch=1&s=0/", "trackID=1", BASE + "?ch=1&s=0/trackID=1"),
        (BASE, "?ctype=video", BASE + "?ctype=video"),
        (BASE, "rtsp://10.0.0.9:554/x/track1?a=b", "rtsp://10.0.0.9:554/x/track1?a=b"),
        (BASE, "rtsp://192.168.1.2/x/track1", "rtsp://10.0.0.9:554/x/track1"),
        (BASE, "RTSP://u:p@192.168.1.2:8554/x", "rtsp://10.0.0.9:554/x"),
        (BASE, "rtsp://192.168.1.2", "rtsp://10.0.0.9:554"),
        ("rtsps://cam:322/a", "rtsp://192.168.1.2/a/track1", "rtsps://cam:322/a/track1"),
        (BASE, "track 1\r\nX: y", BASE + "/track"),
    ],
)
def test_join(base, control, url):
    assert join_control(base, control) == url


@pytest.mark.parametrize(
    ("headers", "url", "names"),
    [
        ({}, BASE, ()),
        ({"Content-Base": ""}, BASE, ()),
        ({"Content-Base": "/cam/"}, BASE, ()),
        ({"Content-Base": f"{BASE}/"}, f"{BASE}/", ()),
        ({"Content-Location": f"{BASE}/x"}, f"{BASE}/x", ()),
        ({"Content-Base": "", "Content-Location": f"{BASE}/x"}, f"{BASE}/x", ()),
        ({"content-base": "rtsp://10.0.0.9/stream/"}, f"{BASE}/", ()),
        ({"Content-Base": "rtsp://u:p@10.0.0.9:554/stream/"}, f"{BASE}/", ()),
        ({"Content-Base": "rtsp://192.168.1.4:8554/s/"}, "rtsp://10.0.0.9:554/s/", ("inside-address",)),
        ({"Content-Base": "10.0.0.9:554/stream/"}, f"{BASE}/", ("base-without-scheme",)),
        (
            {"Content-Base": "[fd00::1]/s/"},
            "rtsp://10.0.0.9:554/s/",
            ("base-without-scheme", "inside-address"),
        ),
    ],
)
def test_base(headers, url, names):
    quirks = Quirks()
    assert base_url(BASE, Headers(tuple(headers.items())), quirks) == url
    assert quirks.names == names


def test_hosts_compare_without_case_port_and_credentials():
    assert not names_other_host("rtsp://Camera:554/x", "RTSP://a:b@camera/y")
    assert not names_other_host("rtsp://camera/x", "track1")
    assert names_other_host("rtsp://camera/x", "rtsp://10.0.0.1/x")


@given(st.text(max_size=40), st.text(max_size=40))
def test_fuzz_stays_on_the_dialled_host_and_on_one_line(base, control):
    for prefix in ("", "rtsp://"):
        found = base_url(BASE, Headers((("Content-Base", prefix + base),)), Quirks())
        url = join_control(found, prefix + control)
        assert url.startswith("rtsp://10.0.0.9:554")
        assert not set(url) & set("\r\n \x00\x7f")
