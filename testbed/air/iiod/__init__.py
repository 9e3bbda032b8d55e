"""Virtual Plutos: servers of libiio's IIOD protocol whose buffers are wired to the emulated air."""
