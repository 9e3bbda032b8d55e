"""All channel models by name: a family is one file and one line here."""

from __future__ import annotations

from testbed.channels import awgn, tdl, two_ray
from testbed.channels.base import ChannelModel
from testbed.errors import ScenarioError

# Seeds of estimators' trials count from here: new families go to the end.
FAMILIES: tuple[tuple[ChannelModel, ...], ...] = (tdl.MODELS, awgn.MODELS, two_ray.MODELS)
MODELS: dict[str, ChannelModel] = {model.name: model for family in FAMILIES for model in family}


def find_channel(name: str, key: str = "channel") -> ChannelModel:
    """The model of that name.

    Parameters
    ----------
    name : str
    key : str
        Where the name was written, for the message.

    Returns
    -------
    ChannelModel

    Raises
    ------
    ScenarioError
        If the name is not known; the message lists those that are.
    """
    if name not in MODELS:
        raise ScenarioError(f"{key} = {name}: allowed: {', '.join(MODELS)}")
    return MODELS[name]
