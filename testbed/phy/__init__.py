"""The waveform: pure functions on arrays. No socket, file, process or clock."""
