"""One file per command; `cli` lists them. Heavy imports stand inside the functions, so that `fgnet --help` is fast."""
