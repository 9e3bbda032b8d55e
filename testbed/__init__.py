"""semcom-testbed: semantic communication over real and emulated radios. The ground that every node shares."""
