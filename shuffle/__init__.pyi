from shuffle.client import PartitionClient as PartitionClient
from shuffle.client import fetch as fetch
from shuffle.http_options import FetchOptions as FetchOptions
from shuffle.http_options import ServeOptions as ServeOptions
from shuffle.inspecting.comparison import diff as diff
from shuffle.inspecting.doctor import doctor as doctor
from shuffle.inspecting.inspection import inspect as inspect
from shuffle.inspecting.repair import repair as repair
from shuffle.inspecting.verification import verify as verify
from shuffle.jobs.exchanges import Exchange as Exchange
from shuffle.jobs.job import JoinSide as JoinSide
from shuffle.jobs.job import run as run
from shuffle.jobs.job import run_join as run_join
from shuffle.jobs.options import JobOptions as JobOptions
from shuffle.jobs.report import JobReport as JobReport
from shuffle.mapping.map_writer import MapWriter as MapWriter
from shuffle.mapping.partition_files import partition_files as partition_files
from shuffle.merging.merge import merge as merge
from shuffle.merging.sources import BadSourcesError as BadSourcesError
from shuffle.options import MapOptions as MapOptions
from shuffle.options import MergeOptions as MergeOptions
from shuffle.partitioners import (
    CallablePartitioner as CallablePartitioner,
)
from shuffle.partitioners import (
    HashPartitioner as HashPartitioner,
)
from shuffle.partitioners import (
    RangePartitioner as RangePartitioner,
)
from shuffle.partitioners import (
    RoundRobinPartitioner as RoundRobinPartitioner,
)
from shuffle.reduce import co_partitioned as co_partitioned
from shuffle.reduce import read_partition as read_partition
from shuffle.report import MapReport as MapReport
from shuffle.report import MergeReport as MergeReport
from shuffle.rows.csv_options import CsvOptions as CsvOptions
from shuffle.rows.errors import InputError as InputError
from shuffle.rows.placement import SortKey as SortKey
from shuffle.serve.server import PartitionServer as PartitionServer
from shuffle.warning import ShuffleWarning as ShuffleWarning

__version__: str
