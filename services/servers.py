"""PostgreSQL, an S3 store, MLflow with authentication and Prefect, each on a free loopback port."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from polydistill.errors import StageError
from services.processes import HOST, answers, find_program, free_port, running

USER = "polydistill"
BUCKET = "polydistill"
POSTGRES_FOLDERS = "usr/lib/postgresql/*/bin"
POSTGRES_ADVICE = "install PostgreSQL (Debian: apt-get install postgresql)."
DATABASES = ("mlflow", "mlflow_auth", "prefect")


@dataclass(frozen=True)
class Services:
    """The running services.

    Attributes:
        environment: The environment variables that point polydistill, DVC, MLflow and Prefect to them.
        postgres: The URL of the database without a driver, with its password.
        folder: The folder of data and logs. It is deleted with the services.
    """

    environment: Mapping[str, str]
    postgres: str
    folder: Path

    @property
    def remote(self) -> str:
        """The URL of the DVC remote."""
        return f"s3://{BUCKET}/dvc"


@contextmanager
def all_services() -> Iterator[Services]:
    """Start all services; at the end of the block, stop them and delete their data.

    Raises:
        MissingDataError: PostgreSQL is not installed.
        StageError: A server did not start.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="polydistill-")))
        folder.chmod(0o755)  # PostgreSQL may run as another user
        postgres = stack.enter_context(postgresql(folder))
        s3 = stack.enter_context(s3_store(folder))
        mlflow = stack.enter_context(mlflow_server(folder, postgres, s3))
        prefect = stack.enter_context(prefect_server(folder, postgres))
        yield Services({**s3, **mlflow, **prefect}, postgres, folder)


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """Start an empty PostgreSQL with the databases of MLflow and Prefect; yield its URL."""
    programs = {
        name: find_program(name, POSTGRES_FOLDERS, POSTGRES_ADVICE)
        for name in ("initdb", "postgres")
    }
    # PostgreSQL refuses to run as root; Debian's package creates this user.
    user = "postgres" if os.geteuid() == 0 else None
    data, secret, port = folder / "postgresql", folder / "secret", free_port()
    password = secrets.token_urlsafe(16)
    data.mkdir()
    secret.touch(mode=0o600)
    secret.write_text(password, encoding="utf-8")
    if user:
        shutil.chown(data, user)
        shutil.chown(secret, user)
    options = ["-D", str(data), "-U", USER, "-A", "scram-sha-256", "--pwfile", str(secret)]
    made = subprocess.run(
        [programs["initdb"], *options, "--no-sync"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        user=user,
    )
    secret.unlink()
    if made.returncode:
        raise StageError(f"initdb failed: {made.stderr.strip()}")
    command: list[str | Path] = [
        programs["postgres"],
        "-D",
        data,
        "-h",
        HOST,
        "-p",
        str(port),
        "-k",
        "",
        "-F",
    ]
    address = f"postgresql://{USER}:{password}@{HOST}:{port}"
    with running(command, log=folder / "postgresql.log", ready=lambda: _opens(address), user=user):
        _make_databases(address)
        yield address


@contextmanager
def s3_store(folder: Path) -> Iterator[dict[str, str]]:
    """Start an in-memory S3-compatible store with one bucket; yield its environment variables."""
    import boto3

    port = free_port()
    environment = {
        "AWS_ACCESS_KEY_ID": USER,
        "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(16),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{HOST}:{port}",
        "MLFLOW_S3_ENDPOINT_URL": f"http://{HOST}:{port}",
    }
    command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    ready = answers(port, "moto-api/data.json")
    with running(command, log=folder / "s3.log", ready=ready, env=environment):
        boto3.client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            region_name=environment["AWS_DEFAULT_REGION"],
        ).create_bucket(Bucket=BUCKET)
        yield environment


@contextmanager
def mlflow_server(folder: Path, postgres: str, s3: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Start an MLflow server with PostgreSQL, artifacts on S3 and passwords; yield its environment variables."""
    port, password = free_port(), secrets.token_urlsafe(16)
    settings = folder / "mlflow-auth.ini"
    settings.touch(mode=0o600)
    settings.write_text(
        "[mlflow]\n"
        "default_permission = NO_PERMISSIONS\n"
        f"database_uri = {postgres.replace('%', '%%')}/mlflow_auth\n"
        f"admin_username = {USER}\n"
        "auth_cache_ttl_seconds = 60\n"  # without a cache, every request derives a key from the password
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n",
        encoding="utf-8",
    )
    environment = {
        **s3,
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # saves seven processes for evaluation jobs
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_urlsafe(16),
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",  # allows receivers on loopback
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_BACKEND_STORE_URI": f"{postgres}/mlflow",  # not as an argument, which `ps` would show
    }
    options = ["--host", HOST, "--port", str(port), "--workers", "1", "--app-name", "basic-auth"]
    command = [
        *(sys.executable, "-m", "mlflow", "server", *options),
        *("--artifacts-destination", f"s3://{BUCKET}/mlflow"),
    ]
    with running(
        command, log=folder / "mlflow.log", ready=answers(port, "health"), env=environment
    ):
        yield {
            "MLFLOW_TRACKING_URI": f"http://{HOST}:{port}",
            "MLFLOW_TRACKING_USERNAME": USER,
            "MLFLOW_TRACKING_PASSWORD": password,
        }


@contextmanager
def prefect_server(folder: Path, postgres: str) -> Iterator[dict[str, str]]:
    """Start a Prefect server on PostgreSQL; yield its environment variables."""
    port = free_port()
    environment = {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"{postgres}/prefect".replace(
            "postgresql:", "postgresql+asyncpg:"
        ),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    command = [
        *(sys.executable, "-m", "prefect", "server", "start"),
        *("--host", HOST, "--port", str(port)),
    ]
    ready = answers(port, "api/health")
    with running(command, log=folder / "prefect.log", ready=ready, env=environment):
        yield {"PREFECT_API_URL": f"http://{HOST}:{port}/api"}


def _opens(address: str) -> bool:
    import psycopg2

    try:
        psycopg2.connect(f"{address}/postgres").close()
    except psycopg2.OperationalError:
        return False
    return True


def _make_databases(address: str) -> None:
    import psycopg2

    connection = psycopg2.connect(f"{address}/postgres")
    connection.autocommit = True
    with connection.cursor() as cursor:
        for name in DATABASES:
            cursor.execute(f"CREATE DATABASE {name}")
    connection.close()
