"""Differential privacy of what leaves a node: mechanisms, their composition, the ledger in which a node keeps count."""
