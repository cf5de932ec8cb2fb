"""A campaign: files of every format are changed at random, and each change says what must follow from it."""
