"""`semtb deploy` and `semtb run --remote`: an edge packed, carried over SSH, looked after; `board` runs over there."""
