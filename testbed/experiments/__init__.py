"""Runs, sweeps and federations of whole scenarios: the one package that sees edges, air and server together."""
