"""The outside world as plain Python: places that issue credentials, live MCP servers, the guarded way to reach them."""
