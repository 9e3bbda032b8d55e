"""What lies between one transmitter and one antenna, as closed forms of time: a file a family, all in `registry`."""
