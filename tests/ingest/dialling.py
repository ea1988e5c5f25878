"""An open connection to a camera, with a session that plays."""

import asyncio
import contextlib

from common.clock import SystemClock
from common.urls import parse_camera_url
from ingest.dial import connect
from ingest.rtsp.events import SessionOptions
from ingest.rtsp.session import RtspSession


def new_session(url):
    return RtspSession(url, bytes(16), SessionOptions())


@contextlib.asynccontextmanager
async def connected(text, on_event=lambda event: None, **options):
    url = parse_camera_url(text)
    connection = await connect(url, SystemClock(), **options)
    try:
        connection.start(new_session(url), on_event)
        yield connection
    finally:
        await connection.close()


async def failure(connection):
    async with asyncio.timeout(5):
        await asyncio.wait({connection.ended})
    return connection.ended.exception()
