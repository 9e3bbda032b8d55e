"""The server: separates users, recovers meaning, measures."""

import testbed  # noqa: F401, what a process settles before any library is loaded
