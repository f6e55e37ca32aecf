"""Where the documents are that come with the project: instances, schemas, best known schedules."""

from __future__ import annotations

from pathlib import Path

_NO_INSTANCES = ("schema", "best_known")


def shipped_folder() -> Path:
    """Folder of shipped documents.

    A wheel has a copy inside the package, and that comes first: what is beside an installed package
    is anybody's. Run from a clone or an unpacked sdist, there is none, and the folder ``instances``
    beside the package is meant.
    """
    package = Path(__file__).parents[1]
    inside = package / "instances"
    return inside if inside.is_dir() else package.parent / "instances"


def shipped_instances() -> dict[str, Path]:
    """Files of the shipped instances, by name."""
    files = sorted(shipped_folder().glob("*/*.json"))
    return {file.stem: file for file in files if file.parent.name not in _NO_INSTANCES}
