"""The errors that polydistill raises on purpose.

PolydistillError                      exit 1
├── ParamsError(ValueError)           exit 2   params.yaml: an unknown key, name or option, or a value out of bounds
│   └── UnknownNameError              exit 2   a plug-in, task or teacher that does not exist
├── MissingExtraError(ImportError)    exit 2   an optional dependency is not installed
├── DataError(ValueError)             exit 3   data that cannot be used
│   ├── MissingDataError              exit 3   a required file is missing
│   └── ValidationFailedError         exit 3   an expectation about the data does not hold
├── ShapeError(ValueError)            exit 1   an array has a wrong shape
├── StoreError(OSError)               exit 4   embeddings or artifacts on disk are damaged or do not match
│   ├── DiskSpaceError                exit 4   there is not enough disk space
│   └── LedgerError                   exit 4   the ledger was tampered with, or does not match the registry
├── StageError(RuntimeError)          exit 5   a stage or an outside tool (DVC, MLflow, Prefect) failed
│   ├── DivergedError                 exit 5   training diverged
│   └── InfrastructureError           exit 5   a lock or a signal stopped the operation: a retry may work
├── GateRefusedError(RuntimeError)    exit 6   the challenger did not pass the gate
└── DriftFoundError(RuntimeError)     exit 7   the incoming corpus has drifted from the champion's corpus
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

MAX_SHOWN = 80
"""The maximum number of characters of a value in a message."""


def short(value: object, limit: int = MAX_SHOWN) -> str:
    """Return the `repr` of a value for a message, cut to at most `limit` characters.

    Examples:
        >>> short("C" * 100_000, 12)
        "'CCCCCCCC..."
    """
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


class PolydistillError(Exception):
    """The base class: catching it catches every error that polydistill raises on purpose."""

    exit_code = 1


class ParamsError(PolydistillError, ValueError):
    """A parameter is unknown, missing or out of bounds."""

    exit_code = 2


class UnknownNameError(ParamsError):
    """A plug-in, task, teacher or option of this name does not exist.

    Examples:
        >>> print(UnknownNameError("loss", "gausian-nll", ["cosine", "gaussian-nll", "mse"]))
        Unknown loss 'gausian-nll'. Did you mean 'gaussian-nll'? Known: cosine, gaussian-nll, mse.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        close = get_close_matches(str(name), names, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        super().__init__(
            f"Unknown {kind} {short(name)}.{hint} Known: {', '.join(names) or 'none'}."
        )


class MissingExtraError(PolydistillError, ImportError):
    """An optional dependency is not installed.

    Examples:
        >>> print(MissingExtraError("Teacher 'minilm-l6'", "text"))
        Teacher 'minilm-l6' needs the `text` extra: pip install "polydistill[text]".
    """

    exit_code = 2

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f'{what} needs the `{extra}` extra: pip install "polydistill[{extra}]".')


@contextmanager
def needs_extra(what: str, extra: str) -> Iterator[None]:
    """Return a context that wraps the import of an optional dependency.

    Args:
        what: The feature that needs the dependency, for the message.
        extra: The pip extra that installs it.

    Raises:
        MissingExtraError: The import fails.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(what, extra) from error


@contextmanager
def located(where: str) -> Iterator[None]:
    """Return a context that puts the key of a setting before the message of its error.

    Examples:
        >>> with located("text.loss"):
        ...     raise ParamsError("too small")
        Traceback (most recent call last):
        polydistill.errors.ParamsError: text.loss: too small
    """
    try:
        yield
    except (ParamsError, DataError) as error:
        error.args = (f"{where}: {error}",)
        raise


class DataError(PolydistillError, ValueError):
    """Data that cannot be used."""

    exit_code = 3


class MissingDataError(DataError, FileNotFoundError):
    """A required file is missing."""


class ValidationFailedError(DataError):
    """An expectation about the data does not hold."""


class ShapeError(PolydistillError, ValueError):
    """An array has a wrong shape."""


class StoreError(PolydistillError, OSError):
    """Embeddings or artifacts on disk are damaged, or do not match the parameters."""

    exit_code = 4


class DiskSpaceError(StoreError):
    """There is not enough disk space for the files to be written."""


class LedgerError(StoreError):
    """A model's ledger was tampered with, or does not match the registry."""


class StageError(PolydistillError, RuntimeError):
    """A stage, or an external tool that it called, failed."""

    exit_code = 5


class DivergedError(StageError):
    """Training diverged: a loss or an embedding is no longer usable."""


class InfrastructureError(StageError):
    """A lock or a signal stopped the operation; a retry may work."""


class GateRefusedError(PolydistillError, RuntimeError):
    """The challenger did not pass the gate."""

    exit_code = 6


class DriftFoundError(PolydistillError, RuntimeError):
    """The incoming corpus has drifted from the champion's corpus."""

    exit_code = 7
