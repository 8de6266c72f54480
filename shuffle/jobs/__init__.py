"""Whole shuffles: map tasks, merges and reduce tasks on an executor."""
