"""Where files are and what can be done there: ``protocol.py`` says what a storage promises, one module a kind.

``local.py`` has the files of this system, with ``publication.py`` for writing them; ``remote.py`` reads object stores
and remote file systems. Nothing here knows what a file holds.
"""
