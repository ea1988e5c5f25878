"""What each request of the API is for, as OpenAPI 3.1 (spec.openapis.org/oas/v3.1.0). [P]

Who may make it is not written here: it comes from `permissions.ROUTES`, which the gate goes by.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from common.access_config import ROLES
from common.access_section import USER_NAME
from common.config import CAMERA_NAME
from common.messages import QUALITIES
from signaling.access.permissions import ROUTES
from signaling.api import schemas
from signaling.api.schemas import Schema, ref
from signaling.problems import CONTENT_TYPE

_JSON = "application/json"
_WORDS = {
    200: "As asked.",
    201: "Made.",
    204: "Done; no body.",
    303: "The page; a cookie holds the link.",
    304: "As in If-None-Match.",
    400: "Not well-formed.",
    401: "Nobody who is known: log in, or send a token.",
    403: "The role does not suffice, or a page of another site asks.",
    404: "Not there, or not to be seen.",
    406: "No common codec.",
    408: "The body did not arrive in time.",
    409: "Not as things are.",
    412: "Changed meanwhile, or there already.",
    413: "The body is too large.",
    415: "Another media type, or an encoded body.",
    422: "Understood, and not allowed; the detail names the member.",
    426: "A WebSocket endpoint.",
    428: "Wants If-Match or If-None-Match.",
    429: "Too often; see Retry-After.",
    500: "A fault of the server; its log says more.",
    503: "Not now; see Retry-After.",
    504: "Somebody behind did not answer in time.",
}
_BODY_ERRORS = (400, 408, 413, 415, 422)
_PATTERNS = {
    "camera": CAMERA_NAME.pattern,
    "user": USER_NAME.pattern,
    "session": r"[A-Za-z0-9_-]{6,64}…?",
    "worker": r"fanout-[0-9]{1,3}",
    "link": r"[0-9a-f]{12}",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One request."""

    method: str
    path: str
    tag: str
    summary: str
    answers: dict[int, dict[str, Schema]]
    "By status, and there by media type; an empty one is no body."
    errors: tuple[int, ...] = ()
    body: dict[str, Schema] = field(default_factory=dict)
    headers: tuple[str, ...] = ()
    "Request headers that it looks at."
    query: dict[str, Schema] = field(default_factory=dict)
    etag: bool = False


def _json(schema: Schema) -> dict[str, Schema]:
    return {_JSON: schema}


def _list(name: str) -> Schema:
    return {"type": "array", "items": ref(name)}


def _held(name: str, item: str) -> Schema:
    return {"type": "object", "required": [name], "properties": {name: _list(item)}}


_TEXT: Schema = {"type": "string"}
_DONE: dict[int, dict[str, Schema]] = {204: {}}
_CONDITION = ("If-Match", "If-None-Match")

OPERATIONS = (
    Operation("POST", "/api/v1/login", "access", "Log in; a cookie says who one is from then on.", _DONE,
              (401, 403, 409, 429, 503), _json(ref("Login"))),
    Operation("POST", "/api/v1/logout", "access", "Log out: what plays by this login ends.", _DONE, (403,)),
    Operation("GET", "/api/v1/me", "access", "Who one is, and may see.", {200: _json(ref("Me"))}),
    Operation("GET", "/api/v1/links", "access", "View links that hold.",
              {200: _json(_held("links", "Link"))}),
    Operation("POST", "/api/v1/links", "access", "Make a link to one camera; its token is shown this once.",
              {201: _json(ref("NewLink"))}, (409,), _json(ref("LinkWish"))),
    Operation("DELETE", "/api/v1/links/{link}", "access", "Revoke a link: what plays by it ends.", _DONE),
    Operation("GET", "/api/v1/cameras", "cameras", "The cameras that one may see.",
              {200: _json(_list("Camera"))}),
    Operation("GET", "/api/v1/cameras/{camera}", "cameras", "The settings of a camera, without its login.",
              {200: _json(ref("CameraSettings")), 304: {}}, (503,), headers=("If-None-Match",), etag=True),
    Operation("PUT", "/api/v1/cameras/{camera}", "cameras",
              "Make a camera (If-None-Match: *) or replace its settings (If-Match); no other is touched.",
              {200: _json(ref("CameraSettings")), 201: _json(ref("CameraSettings"))},
              (409, 412, 428, 500, 503), _json(ref("CameraWish")), _CONDITION, etag=True),
    Operation("DELETE", "/api/v1/cameras/{camera}", "cameras", "Remove a camera; who watches it is told.",
              _DONE, (400, 409, 412, 422, 428, 500, 503), headers=("If-Match",)),
    Operation("GET", "/api/v1/cameras/{camera}/report", "cameras",
              "All that is measured of a camera's streams, what to change in it, and its latest events.",
              {200: _json(ref("CameraReport"))}),
    Operation("GET", "/api/v1/cameras/{camera}/snapshot", "cameras",
              "The last keyframe; Last-Modified says when it was captured.",
              {200: {"image/jpeg": {"type": "string", "format": "binary"}}}, (422, 503, 504),
              query={"width": {"type": "integer", "minimum": 16, "maximum": 3840}}),
    Operation("GET", "/api/v1/cameras-order", "cameras", "The order of the cameras in lists: their names.",
              {200: _json(ref("CamerasOrder")), 304: {}}, headers=("If-None-Match",), etag=True),
    Operation("PUT", "/api/v1/cameras-order", "cameras",
              "Put all cameras in another order: their lines in the file move, and nothing stops.",
              {200: _json(ref("CamerasOrder"))}, (409, 412, 500), _json(ref("CamerasOrder")), ("If-Match",),
              etag=True),
    Operation("POST", "/api/v1/probe", "cameras",
              "Try a camera out before it is saved: it is played for some seconds.",
              {200: _json(ref("Probe"))}, (504,), _json(ref("CameraWish"))),
    Operation("GET", "/api/v1/sessions", "sessions", "Who watches what, and how well it arrives.",
              {200: _json(ref("Sessions"))}),
    Operation("DELETE", "/api/v1/sessions/{session}", "sessions",
              "End a session, named by the beginning of its id as the list shows it.", _DONE, (409,)),
    Operation("GET", "/api/v1/workers", "workers", "What each worker does, and has room for.",
              {200: _json(_list("Worker"))}),
    Operation("POST", "/api/v1/workers/{worker}/drain", "workers",
              "Give it no more viewers, and move those it has without a gap.", _DONE, (504,)),
    Operation("DELETE", "/api/v1/workers/{worker}/drain", "workers", "Give it viewers again.", _DONE, (504,)),
    Operation("GET", "/api/v1/users", "users", "Who may log in.",
              {200: _json(_held("users", "User"))}, (503,)),
    Operation("GET", "/api/v1/users/{user}", "users", "One user.", {200: _json(ref("User")), 304: {}}, (503,),
              headers=("If-None-Match",), etag=True),
    Operation("PUT", "/api/v1/users/{user}", "users",
              "Make a user (If-None-Match: *) or change one (If-Match); what they may no more ends at once.",
              {200: _json(ref("User")), 201: _json(ref("User"))}, (409, 412, 428, 500, 503),
              _json(ref("UserWish")), _CONDITION, etag=True),
    Operation("DELETE", "/api/v1/users/{user}", "users", "Remove a user: what they watch ends.", _DONE,
              (400, 409, 412, 422, 428, 500, 503), headers=("If-Match",)),
    Operation("GET", "/api/v1/configuration", "configuration", "What is in force.",
              {200: _json(ref("Configuration"))}, (503,)),
    Operation("POST", "/api/v1/configuration/reload", "configuration", "Read the file now.",
              {200: _json(ref("Configuration"))}, (422, 503)),
    Operation("GET", "/api/v1/events", "events",
              "Server-Sent Events of cameras, workers, sessions and settings; Last-Event-ID resumes.",
              {200: {"text/event-stream": _TEXT}}, (422, 429, 503), headers=("Last-Event-ID",),
              query={"kind": {"enum": ["camera", "worker", "session", "settings"]}, "camera": _TEXT}),
    Operation("GET", "/api/v1/ice-servers", "playing", "What RTCPeerConnection is to be given.",
              {200: _json(_list("IceServer"))}),
    Operation("POST", "/whep/{camera}", "playing", "Play a camera (draft-ietf-wish-whep).",
              {201: {"application/sdp": _TEXT}}, (400, 406, 408, 413, 415, 422, 429, 500, 503, 504),
              {"application/sdp": _TEXT},
              query={"quality": {"enum": list(QUALITIES), "description": "what the session begins with"}}),
    Operation("PATCH", "/whep/{camera}/{session}", "playing", "Trickled candidates (RFC 8840).", _DONE,
              (400, 408, 412, 413, 415, 422, 428, 500, 503, 504), {"application/trickle-ice-sdpfrag": _TEXT},
              ("If-Match",)),
    Operation("DELETE", "/whep/{camera}/{session}", "playing", "Stop.", {200: {}}, (500, 503, 504)),
)  # fmt: skip


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": f"^{_PATTERNS[name]}$"},
        }
        for name in re.findall(r"\{(\w+)\}", operation.path)
    ]
    found += [{"name": name, "in": "query", "schema": schema} for name, schema in operation.query.items()]
    found += [{"name": name, "in": "header", "schema": {"type": "string"}} for name in operation.headers]
    return found


def _statuses(operation: Operation) -> dict[int, dict[str, Schema]]:
    wanted = ROUTES[operation.method, operation.path]
    errors = set(operation.errors)
    if operation.body:
        errors.update(_BODY_ERRORS if _JSON in operation.body else ())
    if wanted.need != "public":
        errors.update((401, 403, 503))
    if "{" in operation.path:
        errors.add(404)
    problem = {CONTENT_TYPE: ref("Problem")}
    return {**operation.answers, **dict.fromkeys(sorted(errors), problem)}


def _described(operation: Operation) -> dict[str, Any]:
    need = ROUTES[operation.method, operation.path].need
    responses: dict[str, Any] = {}
    for status, contents in _statuses(operation).items():
        response: dict[str, Any] = {"description": _WORDS[status]}
        if contents:
            response["content"] = {kind: {"schema": schema} for kind, schema in contents.items()}
        if operation.etag and status in (200, 201):
            response["headers"] = {"ETag": {"schema": {"type": "string"}}}
        responses[str(status)] = response
    described: dict[str, Any] = {
        "operationId": _name(operation),
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": "Nobody has to be known." if need == "public" else f"Wants the role {need}.",
        "responses": responses,
        "security": [] if need == "public" else [{"login": []}, {"token": []}],
    }
    if parameters := _parameters(operation):
        described["parameters"] = parameters
    if operation.body:
        contents = {kind: {"schema": schema} for kind, schema in operation.body.items()}
        described["requestBody"] = {"required": True, "content": contents}
    return described


def _name(operation: Operation) -> str:
    words = re.sub(r"[^a-z]+", " ", operation.path.replace("/api/v1", "")).split()
    return operation.method.lower() + "".join(word.capitalize() for word in words)


def document() -> dict[str, Any]:
    """The whole description."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cctv3",
            "version": "1",
            "description": (
                "RTSP cameras in any browser. Errors are problem details (RFC 9457). "
                f"Roles, each with the rights of those before it: {', '.join(ROLES)}."
            ),
        },
        # Behind a reverse proxy the API is below a path that only the client knows.
        "servers": [{"url": "../.."}],
        "paths": paths,
        "components": {
            "schemas": schemas.SCHEMAS,
            "securitySchemes": {
                "login": {"type": "apiKey", "in": "cookie", "name": "cctv3"},
                "token": {"type": "http", "scheme": "bearer"},
            },
        },
    }
