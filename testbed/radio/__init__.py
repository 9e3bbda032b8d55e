"""Radios behind one protocol, opened by URI, one driver a file."""
