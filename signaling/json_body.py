"""JSON objects in requests: read strictly, and refused with the name of what is wrong."""

import json
from typing import Any

from aiohttp import web

from signaling.http_body import read_text
from signaling.problems import Problem

MAX_BODY_BYTES = 64 << 10


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise Problem(422, "a member is written twice")
    return content


def _no_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are not JSON


async def read_object(request: web.Request, limit: int = MAX_BODY_BYTES) -> dict[str, Any]:
    """The body as a JSON object (RFC 8259); raises Problem 400, 408, 413, 415 or 422."""
    if request.content_type != "application/json":
        raise Problem(415, "the body must be application/json", headers={"Accept": "application/json"})
    try:
        content = json.loads(
            await read_text(request, limit), object_pairs_hook=_once, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not JSON") from None
    if not isinstance(content, dict):
        raise Problem(422, "the body must be a JSON object")
    try:
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        # JSON can write it, UTF-8 cannot (RFC 8259 section 8.2).
        raise Problem(422, "the body holds half of a surrogate pair") from None
    return content


def only(content: dict[str, Any], *known: str) -> None:
    """Raises Problem 422 for a member that is not one of `known`."""
    for name in content.keys() - set(known):
        raise Problem(422, f"{name[:40]!r} is not a known member; allowed: {', '.join(known)}")


def member(content: dict[str, Any], name: str, kind: type, default: Any = ...) -> Any:
    """A member of that type; raises Problem 422."""
    if name not in content:
        if default is ...:
            raise Problem(422, f"{name}: is missing")
        return default
    value = content[name]
    if type(value) is not kind:
        words = {str: "text", int: "a whole number", bool: "true or false", list: "a list"}
        raise Problem(422, f"{name}: must be {words[kind]}")
    return value
