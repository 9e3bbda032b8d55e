"""The emulated medium: what arrives where, and the ports through which radios reach it."""
