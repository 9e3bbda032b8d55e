"""The tree that a client sees: devices, channels, attributes, and its XML. What they do: `phy` and `device`."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from xml.sax.saxutils import quoteattr

from testbed.air.iiod.protocol import Refused, Request

DTD = (
    "<!DOCTYPE context [<!ELEMENT context (device | context-attribute)*><!ELEMENT context-attribute EMPTY>"
    "<!ELEMENT device (channel | attribute | debug-attribute | buffer-attribute)*>"
    "<!ELEMENT channel (scan-element?, attribute*)><!ELEMENT attribute EMPTY><!ELEMENT scan-element EMPTY>"
    "<!ELEMENT debug-attribute EMPTY><!ELEMENT buffer-attribute EMPTY>"
    "<!ATTLIST context name CDATA #REQUIRED description CDATA #IMPLIED>"
    "<!ATTLIST context-attribute name CDATA #REQUIRED value CDATA #REQUIRED>"
    "<!ATTLIST device id CDATA #REQUIRED name CDATA #IMPLIED>"
    "<!ATTLIST channel id CDATA #REQUIRED type (input|output) #REQUIRED name CDATA #IMPLIED>"
    "<!ATTLIST scan-element index CDATA #REQUIRED format CDATA #REQUIRED scale CDATA #IMPLIED>"
    "<!ATTLIST attribute name CDATA #REQUIRED filename CDATA #IMPLIED>"
    "<!ATTLIST debug-attribute name CDATA #REQUIRED><!ATTLIST buffer-attribute name CDATA #REQUIRED>]>"
)


@dataclass(frozen=True)
class Attribute:
    """How one attribute is read, and written if it can be.

    ``shared`` says that all channels of one type and direction have it together, as in_voltage_rf_bandwidth beside
    in_voltage0_hardwaregain; clients such as gr-iio find attributes by these file names.
    """

    read: Callable[[], str]
    write: Callable[[str], None] | None = None
    shared: bool = False


Attributes = Mapping[str, Attribute]


@dataclass(frozen=True)
class Channel:
    """One channel; ``scan`` is its sample format if it has samples."""

    id: str
    output: bool
    attributes: Attributes
    name: str = ""
    scan: str = ""


@dataclass(frozen=True)
class Device:
    """One IIO device. Channels with samples come first, in the order of their samples."""

    id: str
    name: str
    channels: list[Channel] = field(default_factory=list)
    attributes: Attributes = field(default_factory=dict)
    debug: Attributes = field(default_factory=dict)
    buffer: Attributes = field(default_factory=dict)

    @property
    def scanned(self) -> int:
        """How many channels have samples."""
        return sum(bool(channel.scan) for channel in self.channels)

    @property
    def mask_digits(self) -> int:
        """Hex digits of a mask: 8 for each 32 channels."""
        return 8 * -(-len(self.channels) // 32)


def fixed(value: str) -> Attribute:
    """An attribute that only tells."""
    return Attribute(lambda: value)


def shared(attributes: Attributes) -> dict[str, Attribute]:
    """The same attributes, as those of all channels of one type and direction."""
    return {name: replace(attribute, shared=True) for name, attribute in attributes.items()}


def filename(channel: Channel, attribute: str) -> str:
    """The name of a channel's attribute in sysfs: in_voltage0_rssi, out_altvoltage1_TX_LO_frequency, in_temp0_input."""
    direction = "out" if channel.output else "in"
    if channel.attributes[attribute].shared:
        return f"{direction}_{channel.id.rstrip('0123456789')}_{attribute}"
    return "_".join(word for word in (direction, channel.id, channel.name, attribute) if word)


def find_device(devices: list[Device], key: str) -> Device:
    """By id or name; ENODEV if there is none."""
    for device in devices:
        if key in (device.id, device.name):
            return device
    raise Refused(errno.ENODEV)


def find_attribute(devices: list[Device], request: Request) -> Attribute:
    """The attribute that a READ or WRITE names.

    Raises
    ------
    Refused
        ENODEV, ENXIO or ENOENT: no such device, channel, attribute.
    """
    device = find_device(devices, request.device)
    table = {"device": device.attributes, "debug": device.debug, "buffer": device.buffer}.get(request.kind)
    if table is None:
        table = find_channel(device, request.channel, request.output).attributes
    if request.attribute not in table:
        raise Refused(errno.ENOENT)
    return table[request.attribute]


def find_channel(device: Device, key: str, output: bool) -> Channel:
    """By id or name and direction; ENXIO if there is none."""
    for channel in device.channels:
        if channel.output == output and key in (channel.id, channel.name):
            return channel
    raise Refused(errno.ENXIO)


def xml(devices: list[Device], facts: Mapping[str, str], description: str) -> str:
    """The context as a client's PRINT gets it."""
    parts = ['<?xml version="1.0" encoding="utf-8"?>', DTD]
    parts.append(f'<context name="network" description={quoteattr(description)} >')
    parts += [f"<context-attribute name={quoteattr(k)} value={quoteattr(v)} />" for k, v in facts.items()]
    for device in devices:
        parts.append(f"<device id={quoteattr(device.id)} name={quoteattr(device.name)} >")
        index = 0
        for channel in device.channels:
            label = f" name={quoteattr(channel.name)}" if channel.name else ""
            parts.append(f'<channel id="{channel.id}"{label} type="{"output" if channel.output else "input"}" >')
            if channel.scan:
                parts.append(f'<scan-element index="{index}" format={quoteattr(channel.scan)} />')
                index += 1
            parts += [
                f"<attribute name={quoteattr(name)} filename={quoteattr(filename(channel, name))} />"
                for name in channel.attributes
            ]
            parts.append("</channel>")
        for kind, table in (("", device.attributes), ("buffer-", device.buffer), ("debug-", device.debug)):
            parts += [f"<{kind}attribute name={quoteattr(name)} />" for name in table]
        parts.append("</device>")
    return "".join([*parts, "</context>"])
