"""What the project tests itself with, for the tests of those who use it. Needs no test framework."""

from __future__ import annotations

from shuffle.testing.scripted_kernel import (
    Always,
    Fail,
    Lie,
    Meanwhile,
    Real,
    ScriptedKernel,
    Short,
    Step,
    Zero,
    Zeroes,
)

__all__ = [
    "Always",
    "Fail",
    "Lie",
    "Meanwhile",
    "Real",
    "ScriptedKernel",
    "Short",
    "Step",
    "Zero",
    "Zeroes",
]
