"""A server with low limits, in Windows' Python, that collects nothing: PORT CONNECTIONS REQUEST_TIMEOUT."""

import sys
from dataclasses import replace

from exporter.http.limits import DEFAULT_LIMITS
from exporter.http.messages import Request, Response
from exporter.http.server import listen, serve
from exporter.log import configure_logging


async def respond(_: Request) -> Response:
    return Response(200, b"page")


configure_logging("debug", "logfmt")
limits = replace(DEFAULT_LIMITS, max_connections=int(sys.argv[2]), request_timeout=float(sys.argv[3]))
serve(respond, [listen(f"127.0.0.1:{sys.argv[1]}")], limits)
