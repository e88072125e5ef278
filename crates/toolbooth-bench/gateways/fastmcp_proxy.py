"""The proxy of fastmcp: `fastmcp_proxy.py stdio|PORT LIMIT COMMAND...`, with the client's limit on
each request in seconds."""

import sys

from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from fastmcp.server import create_proxy

front, limit, program, *arguments = sys.argv[1:]
transport = StdioTransport(program, arguments)
proxy = create_proxy(Client(transport, timeout=float(limit)), name="proxy")
if front == "stdio":
    proxy.run(show_banner=False)
else:
    proxy.run(
        transport="http",
        host="127.0.0.1",
        port=int(front),
        path="/mcp",
        show_banner=False,
        log_level="warning",
    )
