"""Runs operations, one step at a time."""
