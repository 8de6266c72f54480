"""The medium between map and reduce tasks: one interface, one module a kind."""

from __future__ import annotations

from shuffle.jobs.exchanges.protocol import Exchange, JobFiles, Keeper, Place

__all__ = ["Exchange", "JobFiles", "Keeper", "Place"]
