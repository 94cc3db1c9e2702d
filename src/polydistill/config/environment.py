"""Environment variables and signals of the process, set before any large library is imported."""

import os
import signal
import sys
from io import TextIOWrapper
from pathlib import Path

DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",  # HF_HUB_OFFLINE=0 allows downloads of teachers from the hub
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "OMP_WAIT_POLICY": "PASSIVE",  # on a busy machine, spinning threads are up to 40 times slower
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # polydistill's commands report errors
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}


def prepare(root: Path = Path()) -> None:
    """Set environment variables that the user has not set, for this process and its children.

    The folder of this environment's commands comes first in `PATH`, so that DVC runs this `polydistill`. A terminal that
    is not UTF-8 shows `?` for the characters that it lacks.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_HOME", str(root.resolve() / ".polydistill" / "prefect"))
    os.environ["PATH"] = path_of_commands()


def use_threads(n_threads: int) -> None:
    """Let torch, BLAS and OpenMP use this number of threads in this process, whatever `OMP_NUM_THREADS` says.

    A sum in another number of threads is rounded differently, so this number is a part of a student's recipe.
    """
    import torch
    from threadpoolctl import threadpool_limits

    threadpool_limits(n_threads)
    torch.set_num_threads(n_threads)


def path_of_commands() -> str:
    """Return `PATH` with the folder of this environment's commands first."""
    commands, path = str(Path(sys.executable).parent), os.environ.get("PATH", "")
    return path if path.split(os.pathsep)[0] == commands else os.pathsep.join([commands, path])


def exit_on_sigterm() -> None:
    """Convert SIGTERM to `SystemExit`, so that `finally` blocks stop the child processes."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
