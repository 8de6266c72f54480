from shuffle.testing.assertions import (
    assert_layout as assert_layout,
)
from shuffle.testing.assertions import (
    assert_partitioned_by as assert_partitioned_by,
)
from shuffle.testing.assertions import (
    assert_rows_conserved as assert_rows_conserved,
)
from shuffle.testing.assertions import (
    assert_same_rows as assert_same_rows,
)
from shuffle.testing.copy_checks import Check as Check
from shuffle.testing.copy_checks import conformance as conformance
from shuffle.testing.engines import EngineConformance as EngineConformance
from shuffle.testing.exchanges import ExchangeConformance as ExchangeConformance
from shuffle.testing.file_systems import (
    CannotMountError as CannotMountError,
)
from shuffle.testing.file_systems import (
    loop_mounted as loop_mounted,
)
from shuffle.testing.file_systems import (
    tmpfs_mounted as tmpfs_mounted,
)
from shuffle.testing.hosts import SimulatedHosts as SimulatedHosts
from shuffle.testing.partitioners import PartitionerConformance as PartitionerConformance
from shuffle.testing.scripted_kernel import (
    Always as Always,
)
from shuffle.testing.scripted_kernel import (
    Fail as Fail,
)
from shuffle.testing.scripted_kernel import (
    Lie as Lie,
)
from shuffle.testing.scripted_kernel import (
    Meanwhile as Meanwhile,
)
from shuffle.testing.scripted_kernel import (
    Real as Real,
)
from shuffle.testing.scripted_kernel import (
    ScriptedKernel as ScriptedKernel,
)
from shuffle.testing.scripted_kernel import (
    Short as Short,
)
from shuffle.testing.scripted_kernel import (
    Step as Step,
)
from shuffle.testing.scripted_kernel import (
    Zero as Zero,
)
from shuffle.testing.scripted_kernel import (
    Zeroes as Zeroes,
)
from shuffle.testing.snapshots import layout_text as layout_text
from shuffle.testing.spark import write_output as write_output
from shuffle.testing.spills import verify_spills as verify_spills
from shuffle.testing.spills import write_spill as write_spill
from shuffle.testing.storages import (
    StorageConformance as StorageConformance,
)
from shuffle.testing.storages import (
    WritableStorageConformance as WritableStorageConformance,
)
