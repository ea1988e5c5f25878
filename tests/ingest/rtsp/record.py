"""Writes down an exchange of RtspSession with a real server, as tests/testdata/rtsp/README.md describes it.

    python -m tests.ingest.rtsp.record rtsp://user:pass@127.0.0.1:8554/camera [udp] > name.txt

Media is cut to a few frames of 32 octets. The clock is turned on by 40 s for one keep-alive, then comes
TEARDOWN.
"""

import socket
import sys
import time

from common.urls import parse_camera_url
from ingest.rtsp.messages import RtspError
from ingest.rtsp.session import RtspSession, SessionOptions, State

PORTS = ((47_000, 47_001), (47_002, 47_003))
MAX_FRAMES = 4


def _written(data: bytes) -> tuple[list[str], bytes]:
    """The messages in `data` as lines of a file, and what is left over."""
    lines: list[str] = []
    while data:
        if data[0] == 0x24:
            size = 4 + int.from_bytes(data[2:4], "big")
            if len(data) < 4 or len(data) < size:
                break
            lines.append(f"$ {data[1]} {data[4:size][:32].hex()}")
            data = data[size:]
            continue
        head, end, rest = data.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        if not end or len(rest) < length:
            break
        lines += [*head.decode().split("\r\n"), "", *rest[:length].decode().split("\r\n")[:-1]]
        data = rest[length:]
    return lines, data


def main() -> None:
    url = parse_camera_url(sys.argv[1])
    transport = "udp" if "udp" in sys.argv[2:] else "tcp"
    session = RtspSession(url, b"seed", SessionOptions(transport=transport, client_ports=PORTS))
    print(f"url: {sys.argv[1]}\ntransport: {transport}")
    if transport == "udp":
        print("client_ports: " + " ".join(f"{rtp}-{rtcp}" for rtp, rtcp in PORTS))
    print("===")
    frames = 0
    rest = b""
    now = 0.0
    closing = False
    with socket.create_connection((url.host, url.port)) as sock:
        sock.settimeout(1.0)
        session.start(now)
        while session.state is not State.CLOSED:
            if sent := session.data_to_send():
                sock.sendall(sent)
                line, *headers = sent.decode().split("\r\n")
                print(">>> " + line.removesuffix(" RTSP/1.0"))
                wanted = ("Transport", "Session", "Authorization")
                print("".join(f"{header}\n" for header in headers if header.startswith(wanted)), end="")
            try:
                data = sock.recv(65_536)
            except TimeoutError:
                data = b""
            lines, rest = _written(rest + data)
            kept = []
            for line in lines:
                frames += line.startswith("$ ")
                if not line.startswith("$ ") or frames <= MAX_FRAMES:
                    kept.append(line)
            if kept:
                print("<<<\n" + "\n".join(kept))
            try:
                session.feed(data, now)
            except RtspError as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
                return
            enough = frames >= MAX_FRAMES or transport == "udp"
            if session.state is State.PLAYING and not closing and enough:
                if now:
                    closing = True
                    session.teardown(now)
                else:
                    time.sleep(0.2)
                    now = 40.0
                    session.tick(now)
                    print("@ 40")


if __name__ == "__main__":
    main()
