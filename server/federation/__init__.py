"""Rounds of private federated learning: edges release what a strategy asks for, the server learns one codec for all."""
