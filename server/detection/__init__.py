"""Multi-user detection that reports its own error."""
