"""Where bytes are and what can be done there: publication of local files, reading of remote ones."""
