"""Channel estimation: least squares, then linear MMSE."""
