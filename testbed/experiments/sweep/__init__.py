"""One task over the points of any axes, on any executor: what to vary, how it is run and resumed, what is stated."""
