"""The shapes of the API's JSON objects (JSON Schema 2020-12). [P]"""

from typing import Any, get_args

from common.access_config import ROLES
from common.config import CAMERA_NAME, Transport
from common.messages import RenditionState

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """One of SCHEMAS."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(
    required: dict[str, Schema], optional: dict[str, Schema] | None = None, more: bool = False
) -> Schema:
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
        "additionalProperties": more,
    }


def _or_null(kind: str) -> Schema:
    return {"type": [kind, "null"]}


_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_NUMBER: Schema = {"type": "number"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_ROLE: Schema = {"enum": list(ROLES)}
_RENDITIONS: Schema = {"type": "array", "items": {"enum": ["main", "sub"]}}
_PATTERNS: Schema = {"type": "array", "items": {"type": "string", "pattern": r"^[A-Za-z0-9_*?\[\]!-]{1,64}$"}}
_CAMERA_URL: Schema = {"type": "string", "minLength": 1}
_TRANSPORT: Schema = {
    "anyOf": [
        {"const": "auto"},
        {
            "type": "array",
            "items": {"enum": list(get_args(Transport))},
            "minItems": 1,
            "uniqueItems": True,
        },
    ]
}
_CAMERA_OPTIONS: dict[str, Schema] = {
    "sub": {"anyOf": [_CAMERA_URL, {"type": "null"}]},
    "on_demand": _FLAG,
    "transport": _TRANSPORT,
    "verify_tls": _FLAG,
    "audio": _FLAG,
    "credentials": _FLAG | {"description": "true: the URLs have a login, which is not shown and is kept"},
}
_LINK: dict[str, Schema] = {
    "id": _TEXT,
    "camera": _TEXT,
    "expires_at": _NUMBER | {"description": "UTC seconds since 1970"},
    "created_by": _TEXT,
    "note": _TEXT,
}
_STATES = [*get_args(RenditionState), "down"]
_ANY: Schema = {"type": "object", "additionalProperties": True}

SCHEMAS: dict[str, Schema] = {
    "Problem": _object({"type": _TEXT, "title": _TEXT, "status": _COUNT, "detail": _TEXT}),
    "Login": _object({"user": _TEXT, "password": _TEXT}),
    "Me": _object(
        {
            "name": _TEXT,
            "kind": {"enum": ["anonymous", "user", "token", "link"]},
            "role": _ROLE,
            "cameras": _TEXTS | {"description": "name patterns"},
            "expires_at": _or_null("number"),
            "configures": _FLAG | {"description": "may change the configuration"},
        }
    ),
    "Link": _object(_LINK),
    "NewLink": _object({**_LINK, "token": _TEXT, "url": _TEXT}),
    "LinkWish": _object(
        {
            "camera": {"type": "string", "pattern": f"^{CAMERA_NAME.pattern}$"},
            "seconds": {"type": "integer", "minimum": 60, "maximum": 31_622_400},
        },
        {"note": {"type": "string", "maxLength": 200}},
    ),
    "Camera": _object(
        {
            "name": _TEXT,
            "state": {"enum": _STATES},
            "renditions": _RENDITIONS,
            "codec": _or_null("string"),
            "profile": _or_null("string"),
            "width": _or_null("integer"),
            "height": _or_null("integer"),
            "fps": _or_null("number"),
            "bitrate": _or_null("number"),
            "gop_s": _or_null("number"),
            "audio": _or_null("string"),
            "age": _or_null("number"),
            "lost": _or_null("integer")
            | {"description": "RTP packets that did not arrive, since its process started"},
            "viewers": _COUNT,
            "error": _or_null("string"),
            "sub": _object(
                {
                    "state": {"enum": _STATES},
                    "codec": _or_null("string"),
                    "width": _or_null("integer"),
                    "height": _or_null("integer"),
                    "fps": _or_null("number"),
                    "bitrate": _or_null("number"),
                    "gop_s": _or_null("number"),
                }
            )
            | {
                "type": ["object", "null"],
                "description": "its sub stream, if there is one; not measured before somebody watched it",
            },
        }
    ),
    "CamerasOrder": _object(
        {
            "order": {
                "type": "array",
                "items": {"type": "string", "pattern": f"^{CAMERA_NAME.pattern}$"},
                "uniqueItems": True,
                "description": "the names of all cameras",
            }
        }
    ),
    "CameraSettings": _object({"name": _TEXT, "url": _TEXT, **_CAMERA_OPTIONS}),
    "CameraWish": _object({"url": _CAMERA_URL}, {"name": _TEXT, **_CAMERA_OPTIONS}),
    "CameraReport": _object(
        {
            "camera": _TEXT,
            "state": _TEXT,
            "error": _or_null("string"),
            "viewers": _COUNT,
            "renditions": {"type": "array", "items": _ANY},
            "events": {"type": "array", "items": _ANY},
        }
    ),
    "Probe": _object(
        {
            "works": _FLAG,
            "error": _or_null("string") | {"description": "why not, without credentials"},
            "kind": {
                "enum": ["refused", "unreachable", None],
                "description": "refused: somebody has to mend it; unreachable: trying again may help",
            },
            "report": _ANY | {"description": "as a rendition of the camera's report"},
            "advice": _TEXTS,
            "picture": _or_null("string") | {"contentEncoding": "base64", "contentMediaType": "image/jpeg"},
        }
    ),
    "Sessions": _object(
        {
            "sessions": {"type": "array", "items": ref("Session")},
            "silent": _TEXTS | {"description": "workers that did not say what they serve"},
        }
    ),
    "Session": _object(
        {
            "session": _TEXT | {"description": "the beginning of its id"},
            "camera": _TEXT,
            "worker": _TEXT,
            "viewer": _or_null("string"),
            "kind": _or_null("string"),
            "address": _or_null("string"),
            "age": _or_null("number")
            | {"description": "seconds since it was opened; null when signaling has been restarted since"},
            "reason": _or_null("string") | {"description": "why it is given what it is, when that changed"},
        },
        more=True,
    ),
    "Worker": _object(
        {
            "worker": _TEXT,
            "state": {"enum": ["up", "draining"]},
            "age": _NUMBER,
            "sessions": _COUNT,
            "headroom": _or_null("number"),
            "report": {"anyOf": [_ANY, {"type": "null"}]},
        }
    ),
    "User": _object({"name": _TEXT, "role": _ROLE, "cameras": _TEXTS, "password": _FLAG}),
    "UserWish": _object(
        {},
        {
            "name": _TEXT,
            "role": _ROLE,
            "cameras": _PATTERNS,
            "password": {
                "anyOf": [{"type": "string", "minLength": 10, "maxLength": 1024}, _FLAG],
                "description": "left out, or true: kept",
            },
        },
    ),
    "Configuration": _object(
        {
            "revision": _COUNT,
            "cameras": _TEXTS,
            "writable": _FLAG,
            "error": _or_null("string")
            | {"description": "why the file as it is now is not in force; the reason for admins alone"},
            "restart_needed": _TEXTS,
        }
    ),
    "IceServer": _object({"urls": _TEXT}),
}
