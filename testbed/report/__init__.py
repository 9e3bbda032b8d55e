"""`semtb report`: from a run folder to one page, `make.make_report`. Words and figures; nothing is measured here."""
