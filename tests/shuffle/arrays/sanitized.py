"""Runs tests with the modules of ``shuffle.native`` from another directory: ``sanitized.py DIRECTORY TEST…``."""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

import pytest

for path in Path(sys.argv[1]).glob("*.so"):
    name = f"shuffle.native.{path.stem}"
    loader = importlib.machinery.ExtensionFileLoader(name, str(path))
    specification = importlib.util.spec_from_loader(name, loader)
    assert specification is not None
    sys.modules[name] = importlib.util.module_from_spec(specification)
    loader.exec_module(sys.modules[name])
sys.exit(pytest.main(["-q", "-p", "no:xdist", "-p", "no:cacheprovider", *sys.argv[2:]]))
