"""Training of codecs. The only folder that imports torch (extra `train`)."""
