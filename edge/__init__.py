"""An edge node: data to meaning, meaning to radio."""
