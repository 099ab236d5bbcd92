"""The command line: one file per verb, and the one place where errors become sentences."""
