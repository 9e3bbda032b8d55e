"""The control plane: typed messages and the bus that carries them."""
