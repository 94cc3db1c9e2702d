"""Every error that polydistill raises on purpose.

PolydistillError                      exit 1
├── ParamsError(ValueError)           exit 2   params.yaml: an unknown key, name, option or a value out of bounds
│   └── UnknownNameError              exit 2   a plug-in that no file provides
├── MissingExtraError(ImportError)    exit 2   an optional dependency is not installed
├── DataError(ValueError)             exit 3   data that a stage cannot work with
│   ├── MissingDataError              exit 3   a file that should be there is not
│   └── ValidationFailedError         exit 3   an expectation about the data does not hold
├── ShapeError(ValueError)            exit 1   an array has another shape than its contract says
├── StoreError(OSError)               exit 4   embeddings or artifacts on disk are damaged or do not fit
│   ├── DiskSpaceError                exit 4   there is not enough room
│   └── LedgerError                   exit 4   the ledger was tampered with, or does not fit the registry
├── StageError(RuntimeError)          exit 5   a stage or an outside tool (DVC, MLflow, Prefect) failed
│   ├── DivergedError                 exit 5   training left the region of finite numbers
│   └── InfrastructureError           exit 5   a lock or a signal stopped it: worth another try
├── GateRefusedError(RuntimeError)    exit 6   a challenger did not pass the gate
└── DriftFoundError(RuntimeError)     exit 7   the incoming corpus is another one than the champion's
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class PolydistillError(Exception):
    """The root: catch it to catch whatever polydistill raises on purpose."""

    exit_code = 1


class ParamsError(PolydistillError, ValueError):
    """A parameter is unknown, missing or out of bounds."""

    exit_code = 2


class UnknownNameError(ParamsError):
    """A name that no plug-in, task or teacher answers to.

    Examples:
        >>> print(UnknownNameError("loss", "gausian-nll", ["cosine", "gaussian-nll", "mse"]))
        Unknown loss 'gausian-nll'. Did you mean 'gaussian-nll'? Known: cosine, gaussian-nll, mse.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        close = get_close_matches(name, names, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        super().__init__(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'}.")


class MissingExtraError(PolydistillError, ImportError):
    """An optional dependency is not installed.

    Examples:
        >>> print(MissingExtraError("Teacher 'minilm-l6'", "text"))
        Teacher 'minilm-l6' needs the `text` extra: pip install "polydistill[text]".
    """

    exit_code = 2

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f'{what} needs the `{extra}` extra: pip install "polydistill[{extra}]".')


class DataError(PolydistillError, ValueError):
    """Data that a stage cannot work with."""

    exit_code = 3


class MissingDataError(DataError, FileNotFoundError):
    """A file that should be there is not."""


class ValidationFailedError(DataError):
    """An expectation about the data does not hold."""


class ShapeError(PolydistillError, ValueError):
    """An array has another shape than its contract says."""


class StoreError(PolydistillError, OSError):
    """Embeddings or artifacts on disk are damaged, or do not fit the parameters."""

    exit_code = 4


class DiskSpaceError(StoreError):
    """There is not enough room for what is about to be written."""


class LedgerError(StoreError):
    """The ledger of a model was tampered with, or is not the registry's."""


class StageError(PolydistillError, RuntimeError):
    """A stage, or an outside tool that it called, failed."""

    exit_code = 5


class DivergedError(StageError):
    """Training left the region of finite numbers."""


class InfrastructureError(StageError):
    """A lock, or a signal from outside, stopped what would have worked: worth another try."""


class GateRefusedError(PolydistillError, RuntimeError):
    """A challenger did not pass the gate."""

    exit_code = 6


class DriftFoundError(PolydistillError, RuntimeError):
    """The incoming corpus has drifted from the champion's."""

    exit_code = 7
