"""Packages show their public names, and nothing else."""

from types import ModuleType

import pytest

import shuffle
import shuffle.testing


@pytest.mark.parametrize("package", [shuffle, shuffle.testing])
def test_a_package_shows_its_public_names_alone(package: ModuleType) -> None:
    assert dir(package) == sorted(package.__all__)
    assert all(hasattr(package, name) for name in dir(package))
