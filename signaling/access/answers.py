"""Answers of the services that are asked about tokens and logins: read whole, within a size."""

import aiohttp


async def read_answer(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body; raises ValueError when it is longer than `limit` octets."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            raise ValueError(f"its answer is larger than {limit} octets")
    return bytes(body)
