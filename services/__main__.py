"""Run all services until Ctrl-C: `python -m services`."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path
from types import FrameType

from rich.console import Console

from polydistill.config.environment import prepare
from polydistill.errors import PolydistillError
from services.servers import BUCKET, Services, all_services

FILE = Path(".polydistill") / "services.env"


def main() -> None:
    """Start all services, print their addresses, and wait."""
    prepare()
    signal.signal(signal.SIGTERM, _stop)
    console = Console()
    try:
        starting = console.status("Starting PostgreSQL, S3, MLflow and Prefect …")
        with starting, all_services() as services:
            _write(services)
            starting.stop()
            _print_addresses(console, services)
            signal.pause()
    except PolydistillError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        console.print("All services are stopped, and their data are deleted.")
    finally:
        FILE.unlink(missing_ok=True)


def _write(services: Services) -> None:
    """Write the environment variables to a file that only the user can read: it holds passwords."""
    FILE.parent.mkdir(exist_ok=True)
    FILE.unlink(missing_ok=True)
    FILE.touch(mode=0o600)
    lines = [f"export {name}={shlex.quote(value)}" for name, value in services.environment.items()]
    FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _print_addresses(console: Console, services: Services) -> None:
    environment = services.environment
    console.print(f"MLflow   {environment['MLFLOW_TRACKING_URI']}  (user and password: {FILE})")
    console.print(f"Prefect  {environment['PREFECT_API_URL']}")
    console.print(f"S3       {environment['AWS_ENDPOINT_URL']}  bucket {BUCKET}")
    console.print(f"Logs     {services.folder}")
    console.print(f"\nIn another terminal: [bold]. {FILE}[/bold]   Ctrl-C here stops everything.")


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
