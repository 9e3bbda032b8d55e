"""Mechanisms: what is added to a value before it leaves a node. One file each, by name; each states its DpEvent."""
