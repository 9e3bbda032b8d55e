"""`semtb firmware`: a profile compared with a Pluto or a Linux board over SSH, applied, read back, and taken back."""
