"""semcom-testbed: semantic communication over real and emulated radios. What every node shares."""
