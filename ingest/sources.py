"""Which source plays a URL."""

from common.clock import Clock
from common.config import Transport
from common.urls import CameraUrl
from ingest.rtsp_source import RtspOptions, RtspSource
from ingest.source import Source


def source_of(
    url: CameraUrl, transports: tuple[Transport, ...], verify_tls: bool, audio: bool, clock: Clock
) -> Source:
    """The source for a URL; whatever is not RTSP goes through PyAV, which is imported only then."""
    if url.scheme in ("rtsp", "rtsps"):
        return RtspSource(url, RtspOptions(transports, verify_tls, audio), clock)
    from ingest.pyav.source import AvSource

    return AvSource(url, clock, verify_tls, audio)
