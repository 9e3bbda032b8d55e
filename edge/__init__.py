"""An edge node: data to meaning, meaning to radio."""

import testbed  # noqa: F401, what a process settles before any library is loaded
