"""One parser per file format; parsers judge nothing."""
