from .errors import (
    ChecksumError as ChecksumError,
)
from .errors import (
    CorruptError as CorruptError,
)
from .errors import (
    MismatchError as MismatchError,
)
from .errors import (
    NotPartitionedError as NotPartitionedError,
)
from .errors import (
    PositionError as PositionError,
)
from .errors import (
    SpillError as SpillError,
)
from .errors import (
    TargetExistsError as TargetExistsError,
)
from .errors import (
    TruncatedError as TruncatedError,
)
from .errors import (
    VersionError as VersionError,
)
from .layout import PartitionLayout as PartitionLayout
from .partitioner import PartitionerDescription as PartitionerDescription
from .reader import SpillFile as SpillFile
from .writer import SpillWriter as SpillWriter

__version__: str
