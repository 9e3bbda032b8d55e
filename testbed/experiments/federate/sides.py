"""The halves' surroundings in the evaluator's process, for what a run is compared with."""

from __future__ import annotations

from pathlib import Path

import msgspec

from testbed.codec.classifier import Classifier
from testbed.data.split import Split
from testbed.experiments.federate.baselines import own_weights
from testbed.experiments.federate.plan import Plan
from testbed.federation.base import Agreed, ClientSide, ServerSide, shapes
from testbed.federation.models import open_models
from testbed.federation.tensors import Tensors


class Sides(msgspec.Struct, frozen=True):
    """All clients, those whose edge was lost too: what they hold is known here."""

    clients: list[ClientSide]
    server: ServerSide
    own: dict[str, Tensors]  # by edge
    names: list[str]

    def learned(self) -> list[ClientSide]:
        """Those that had learned alone when their edge was lost, if it was."""
        return [side for side, name in zip(self.clients, self.names, strict=True) if name in self.own]


def make_sides(configs: Plan, parts: Split, pair: Classifier) -> Sides:
    """Client and server sides of a run.

    Parameters
    ----------
    configs : Plan
    parts : Split
    pair : Classifier
        In place of the one of round 0: FedAvg and the first round of the mean of logits use none.

    Returns
    -------
    Sides
    """
    server = configs.server
    pictures = parts.public.pictures
    models = open_models(server.codec, pictures.shape[1], server.symbols, server.classes)
    own = own_weights([Path(edge.state) for edge in configs.edges], models)
    agreed = Agreed(
        samples=len(pictures),
        pixels=pictures.shape[1],
        symbols=server.symbols,
        classes=server.classes,
        records_at_most=server.records_at_most,
        weights=shapes(models.new(0)),
    )
    clients = [
        ClientSide(agreed, records, pictures, edge.link, edge.seed, models, pair, own.get(edge.name, {}))
        for edge, records in zip(configs.edges, parts.clients, strict=True)
    ]
    side = ServerSide(agreed, pictures, server.seed, models, pair)
    return Sides(clients, side, own, [edge.name for edge in configs.edges])
