"""Scenarios and node configurations: strict structs, one loader. Unknown keys and wrong values are errors.

A *scenario* names everything of a run. From it each process gets its own *node configuration* (``AirConfig``,
``ServerConfig``, ``EdgeConfig``), which is all that process is given, so that it starts as well on another machine.
"""

from testbed.config.air import Air, AirLink, Change, check_channel
from testbed.config.load import (
    apply_setting,
    convert,
    dump,
    explain,
    find_element,
    load_node,
    load_scenario,
    read_toml,
    struct_at,
)
from testbed.config.nodes import AirConfig, AirPort, EdgeConfig, ServerConfig
from testbed.config.radios import FrontEnd, Oscillator, RadioModel
from testbed.config.scenario import (
    BeaconPart,
    CodecChoice,
    EdgePart,
    Net,
    Scenario,
    ServerPart,
    Switch,
    picture_share,
    switches_of,
)
from testbed.config.strict import NODE_NAME, Strict, check

__all__ = [
    "NODE_NAME",
    "Air",
    "AirConfig",
    "AirLink",
    "AirPort",
    "BeaconPart",
    "Change",
    "CodecChoice",
    "EdgeConfig",
    "EdgePart",
    "FrontEnd",
    "Net",
    "Oscillator",
    "RadioModel",
    "Scenario",
    "ServerConfig",
    "ServerPart",
    "Strict",
    "Switch",
    "apply_setting",
    "check",
    "check_channel",
    "convert",
    "dump",
    "explain",
    "find_element",
    "load_node",
    "load_scenario",
    "picture_share",
    "read_toml",
    "struct_at",
    "switches_of",
]
