"""Sources of opaque bytes, by the name that the project's own tests know them by."""

from shuffle.testing.opaque import OpaqueSources, opaque_source

__all__ = ["OpaqueSources", "opaque_source"]
