"""Request bodies, read within a size and a time, and the problems that come instead (RFC 9110, RFC 9457)."""

import asyncio
import json
import logging

from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.typedefs import Handler

from signaling.problems import CONTENT_TYPE, Problem

log = logging.getLogger(__name__)

BODY_DEADLINE_S = 5.0


async def read_text(request: web.Request, limit: int) -> str:
    """The body as text; raises Problem 400, 408, 413 or 415. Reads no further than `limit` octets."""
    too_large = Problem(413, f"the body is larger than {limit} octets")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(415, "send the body without Content-Encoding", headers={"Accept-Encoding": "identity"})
    if request.content_length is not None and request.content_length > limit:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit:
                    raise too_large
    except TimeoutError:
        raise Problem(408, f"the body did not arrive within {BODY_DEADLINE_S:g} s") from None
    except (ConnectionError, HttpProcessingError, web.RequestPayloadError):
        raise Problem(400, "the body broke off or is not framed as HTTP wants") from None
    try:
        return body.decode()
    except UnicodeDecodeError as exc:
        raise Problem(400, f"the body is not UTF-8 at octet {exc.start}") from None


def respond(request: web.BaseRequest, problem: Problem) -> web.Response:
    """The answer that tells of a problem."""
    headers = dict(problem.headers)
    response = web.Response(
        status=problem.status,
        body=json.dumps(problem.members()).encode(),
        content_type=CONTENT_TYPE,
        headers=headers,
    )
    if not request.content.is_eof():
        response.force_close()  # the rest of the body is nobody's business
    return response


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure leaves as problem details."""
    try:
        return await handler(request)
    except Problem as problem:
        return respond(request, problem)
    except web.HTTPException as exc:
        if exc.status < 400:
            raise
        headers = {"Allow": exc.headers["Allow"]} if "Allow" in exc.headers else {}
        details = {
            404: "nothing is served under this path",
            405: f"the method is not served here; allowed: {headers.get('Allow', 'none')}",
        }
        return respond(request, Problem(exc.status, details.get(exc.status, exc.reason), headers=headers))
    except Exception:
        log.exception("! %s %s failed", request.method, request.rel_url.raw_path[:120])
        return respond(request, Problem(500, "signaling failed; its log says why"))
