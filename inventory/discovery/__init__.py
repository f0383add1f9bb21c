"""Reads MCP client configuration: which servers exist, how they start, and where their credentials sit."""
