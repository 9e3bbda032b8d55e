"""The server: separates users, recovers meaning, measures."""
