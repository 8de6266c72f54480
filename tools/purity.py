"""The import contract of pure modules: import-linter holds to it every module with a line ``# PURE``."""

from pathlib import Path
from typing import Any

from importlinter.contracts.forbidden import ForbiddenContract

ROOT = Path(__file__).parents[1]
MARKER = "# PURE"


def pure_modules(*packages: str) -> list[str]:
    """The modules that have the marker; one in the ``__init__.py`` of a package is for all of it."""
    paths = (path for package in packages for path in sorted((ROOT / package).rglob("*.py")))
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in paths
        if MARKER in path.read_text().splitlines()
    ]


class PureContract(ForbiddenContract):
    """A contract "forbidden" whose source modules are the marked ones."""

    type_name = "pure"

    def __init__(self, name: str, session_options: dict[str, Any], contract_options: dict[str, Any]) -> None:
        sources = pure_modules(*session_options["root_packages"])
        super().__init__(name, session_options, {**contract_options, "source_modules": sources})
