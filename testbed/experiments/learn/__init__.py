"""`semtb train` and `semtb eval`: codecs and channel estimators trained, measured, written down."""
