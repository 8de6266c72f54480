"""A shuffle for Arrow data: partition, spill, merge, read.

Names are imported when they are first used: a merge, which decodes nothing, does not wait for pyarrow; and pytest,
which imports the package of every plugin that is installed, waits for nothing at all.
"""

from spill_format.lazy import public_names

__getattr__, __dir__, __all__ = public_names(__name__, __file__)
