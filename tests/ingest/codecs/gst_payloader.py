"""Frames through GStreamer's elements; run with the interpreter that has Debian's `gi`.

    /usr/bin/python3 tests/ingest/codecs/gst_payloader.py CAPS "ELEMENT ! ELEMENT"

Reads frames from standard input, writes what comes out (RTP packets of a payloader) to standard output, each
behind its size in 4 octets.
"""

import struct
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
from gi.repository import Gst, GstApp  # noqa: E402, F401

FRAME_NS = 40_000_000
SIZE = struct.Struct("!I")


def main(caps: str, elements: str) -> None:
    Gst.init(None)
    launch = f"appsrc name=in format=time caps={caps} ! {elements} ! appsink name=out sync=false"
    pipeline = Gst.parse_launch(launch)
    source, sink = pipeline.get_by_name("in"), pipeline.get_by_name("out")
    pipeline.set_state(Gst.State.PLAYING)
    data = sys.stdin.buffer.read()
    at = number = 0
    while at < len(data):
        end = at + SIZE.size + SIZE.unpack_from(data, at)[0]
        frame = Gst.Buffer.new_wrapped(data[at + SIZE.size : end])
        frame.pts = frame.dts = number * FRAME_NS
        frame.duration = FRAME_NS
        source.push_buffer(frame)
        at, number = end, number + 1
    source.end_of_stream()
    while sample := sink.pull_sample():
        buffer = sample.get_buffer()
        made = buffer.extract_dup(0, buffer.get_size())
        sys.stdout.buffer.write(SIZE.pack(len(made)) + made)
    error = pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
    pipeline.set_state(Gst.State.NULL)
    if error:
        sys.exit(str(error.parse_error()))


main(*sys.argv[1:])
