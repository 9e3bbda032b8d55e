"""All channel models by name: a family is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable

from testbed.channels import awgn, measured, rician, tdl, two_ray
from testbed.channels.base import ChannelModel
from testbed.errors import ScenarioError

# Seeds of estimators' trials count from here: new families go to the end.
FAMILIES: tuple[tuple[ChannelModel, ...], ...] = (tdl.MODELS, awgn.MODELS, two_ray.MODELS, rician.MODELS)
MODELS: dict[str, ChannelModel] = {model.name: model for family in FAMILIES for model in family}
# What stands behind a colon is an argument: (argument, whole name, key) to a model.
WITH_ARGUMENT: dict[str, Callable[[str, str, str], ChannelModel]] = {"Rician": rician.with_k, "taps": measured.read}
FORMS = (*MODELS, "Rician:K_DB", "taps:FILE")


def find_channel(name: str, key: str = "channel") -> ChannelModel:
    """The model of that name.

    Parameters
    ----------
    name : str
        With an argument behind a colon where the family takes one.
    key : str
        Where the name was written, for the message.

    Returns
    -------
    ChannelModel

    Raises
    ------
    ScenarioError
        If the name is not known; the message lists those that are. Also if its argument is not good.
    """
    if name in MODELS:
        return MODELS[name]
    family, colon, argument = name.partition(":")
    if colon and family in WITH_ARGUMENT:
        return WITH_ARGUMENT[family](argument, name, key)
    raise ScenarioError(f"{key} = {name}: allowed: {', '.join(FORMS)}")
