"""Partitioners: which partition each row of a record batch belongs to.

PURE: nothing in this package opens a file, a socket or a clock.
"""
# PURE

from __future__ import annotations

from shuffle.partitioners.callable import CallablePartitioner
from shuffle.partitioners.hash import HashPartitioner
from shuffle.partitioners.protocol import Partitioner
from shuffle.partitioners.range import RangePartitioner
from shuffle.partitioners.round_robin import RoundRobinPartitioner

__all__ = ["CallablePartitioner", "HashPartitioner", "Partitioner", "RangePartitioner", "RoundRobinPartitioner"]
