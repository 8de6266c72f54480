"""Partitions over HTTP: the server. Needs the extra ``serve``; ``server.py`` is where to begin."""
