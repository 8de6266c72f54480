"""Runs tests with the functions of ``shuffle.native`` from another file: ``sanitized.py MODULE TEST…``."""

import importlib.machinery
import importlib.util
import sys

import pytest

NAME = "shuffle.native._gather"

loader = importlib.machinery.ExtensionFileLoader(NAME, sys.argv[1])
specification = importlib.util.spec_from_loader(NAME, loader)
assert specification is not None
sys.modules[NAME] = importlib.util.module_from_spec(specification)
loader.exec_module(sys.modules[NAME])
sys.exit(pytest.main(["-q", "-p", "no:xdist", "-p", "no:cacheprovider", *sys.argv[2:]]))
