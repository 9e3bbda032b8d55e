"""Semantic codecs: the Codec protocol, ONNX sessions, cards of what ships. No torch outside train/."""
