"""The roof: commands, runs, reports. The one place that sees all; nothing imports it."""
