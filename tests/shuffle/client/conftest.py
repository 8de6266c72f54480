"""The servers of the other side's tests."""

from tests.shuffle.serve.conftest import authority, server, shared_root

__all__ = ["authority", "server", "shared_root"]
