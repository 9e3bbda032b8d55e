"""Data sets and pictures, read from where SEMTB_DATA says."""
