"""The description of the API: for programs as OpenAPI, for people as a page."""

import html
import json
from typing import Any

from aiohttp import web

from signaling.api.description import document


class OpenApi:
    """The handlers; both answers are made once."""

    def __init__(self) -> None:
        described = document()
        self._json = json.dumps(described).encode()
        self._page = _page(described).encode()

    def routes(self) -> list[web.RouteDef]:
        """Where the handlers belong."""
        return [
            web.get("/api/v1/", self._html),
            web.get("/api/v1/openapi.json", self._description),
        ]

    async def _description(self, request: web.Request) -> web.Response:
        return web.Response(body=self._json, content_type="application/json")

    async def _html(self, request: web.Request) -> web.Response:
        return web.Response(body=self._page, content_type="text/html", charset="utf-8")


def _page(described: dict[str, Any]) -> str:
    parts = []
    tag = ""
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            if operation["tags"][0] != tag:
                tag = operation["tags"][0]
                parts.append(f"<h2>{html.escape(tag)}</h2>")
            parts.append(_operation(method.upper(), path, operation))
    schemas = [
        f"<h3 id='{html.escape(name)}'>{html.escape(name)}</h3>"
        f"<pre>{html.escape(json.dumps(schema, indent=2, ensure_ascii=False))}</pre>"
        for name, schema in described["components"]["schemas"].items()
    ]
    info = described["info"]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>cctv3 API</title>
<link rel="stylesheet" href="../../api.css">
</head>
<body>
<h1>cctv3 API</h1>
<p>{html.escape(info["description"])}</p>
<p>For programs: <a href="openapi.json">openapi.json</a></p>
{"".join(parts)}
<h2>objects</h2>
{"".join(schemas)}
</body>
</html>
"""


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{status}</td><td>{html.escape(response['description'])}</td>"
        f"<td>{_contents(response.get('content', {}))}</td></tr>"
        for status, response in operation["responses"].items()
    )
    takes = [parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] != "path"]
    body = operation.get("requestBody")
    body_text = f"<p>Body: {_contents(body['content'])}</p>" if body else ""
    takes_text = f"<p>Looks at: {html.escape(', '.join(takes))}</p>" if takes else ""
    return (
        f"<section><h3><code>{method} {html.escape(path)}</code></h3>"
        f"<p>{html.escape(operation['summary'])} {html.escape(operation['description'])}</p>"
        f"{takes_text}{body_text}<table>{rows}</table></section>"
    )


def _contents(contents: dict[str, Any]) -> str:
    shown = []
    for kind, content in contents.items():
        schema = content["schema"]
        name = schema.get("$ref", schema.get("items", {}).get("$ref", "")).rpartition("/")[2]
        link = f" <a href='#{html.escape(name)}'>{html.escape(name)}</a>" if name else ""
        shown.append(f"{html.escape(kind)}{link}")
    return "; ".join(shown)
