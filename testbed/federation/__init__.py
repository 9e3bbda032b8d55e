"""Strategies of federated learning: one file each, with the client's and the server's half over named tensors.

A strategy says beforehand what a client releases (:class:`~testbed.federation.base.Release`: names, shapes, bounds,
sensitivity); a mechanism of :mod:`testbed.privacy.mechanisms` adds the noise; the server takes what keeps to that and
nothing else (:mod:`testbed.federation.screening`). Numbers only: no half knows a socket or a process, and what trains
comes to it as :class:`~testbed.federation.models.Models`.
"""
