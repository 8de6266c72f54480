"""What a partitioned file is, on disk: an Arrow IPC file whose record batches are grouped into ranges, one a partition.

FORMAT.md is the byte layout. Nothing here knows of merging, and nothing imports ``shuffle``. Names are imported when
they are first used, so that a merge, which decodes nothing, does not wait for pyarrow.
"""

from .lazy import public_names

__getattr__, __dir__, __all__ = public_names(__name__, __file__)
