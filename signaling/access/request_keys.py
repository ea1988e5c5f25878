"""What the gate notes on each request for the handlers behind it."""

from aiohttp import web

from signaling.access.principal import Principal

PRINCIPAL = web.RequestKey("principal", Principal)
"Who asks; not there on public routes."
ADDRESS = web.RequestKey("address", str)
"The client's IP address, or `local`."
