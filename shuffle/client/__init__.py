"""Fetching partitions from a server. Nothing here needs an extra."""

from __future__ import annotations

from shuffle.client.client import PartitionClient, fetch
from shuffle.client.errors import FetchError, NetworkError, ServerError
from shuffle.client.fetched import Fetched
from shuffle.client.place import Place

__all__ = ["FetchError", "Fetched", "NetworkError", "PartitionClient", "Place", "ServerError", "fetch"]
