"""A stand-in for ingest: publishes the clip and answers joins (`python -m tests.bench.publisher`)."""

import sys
from pathlib import Path

from common import lifecycle, wire
from common.access_unit import AccessUnit
from common.bus import MediaPublisher
from tests.bench import clip, pacing

LIVE_TOPIC = wire.live_topic("main", "video")


async def main(clip_file: Path, endpoint: str, log: Path) -> None:
    """Publishes until cancelled."""
    units = clip.load(clip_file)
    gop: list[AccessUnit] = []
    epoch = 1

    def subscription(topic: bytes, subscribed: bool) -> None:
        if not subscribed or not isinstance(wire.parse_topic(topic), wire.JoinTopic):
            return
        for unit in gop:
            publisher.publish(wire.encode_access_unit(topic, unit))
        following = gop[-1].sequence + 1 if gop else 0
        publisher.publish(wire.encode_join_end(topic, epoch, following))

    publisher = MediaPublisher(endpoint, subscription)

    def publish(number: int, nals: clip.Unit, now_ns: int) -> None:
        unit = AccessUnit(
            epoch=epoch,
            sequence=number,
            track="video",
            codec="H264",
            timestamp=number * pacing.TICKS,
            capture_ns=now_ns,
            arrival_ns=now_ns,
            keyframe=clip.is_keyframe(nals),
            nals=nals,
        )
        if unit.keyframe:
            gop.clear()
        gop.append(unit)
        publisher.publish(wire.encode_access_unit(LIVE_TOPIC, unit))

    try:
        await pacing.play(units, publish, log)
    finally:
        publisher.close()


if __name__ == "__main__":
    clip_path, endpoint_name, log_path = sys.argv[1:]
    sys.exit(lifecycle.run("publisher", lambda: main(Path(clip_path), endpoint_name, Path(log_path))))
