"""`compose.yaml` defines the same services as `python -m services`. The tests need no Docker."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from configparser import ConfigParser
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from services import servers

REPOSITORY = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((REPOSITORY / "services" / "compose.yaml").read_text("utf-8"))
SERVICES: Mapping[str, Any] = COMPOSE["services"]
GUIDE = (REPOSITORY / "docs" / "guides" / "remotes.md").read_text("utf-8")
POSTGRES = "postgresql://polydistill:letters@postgres"
TAG = re.compile(r"\S+:[\w.-]+")
READ = re.compile(r"(?<!\$)\$\{?(\w+)(:\?)?\}?")
"""A variable in the file. With `:?`, compose refuses to start without it."""
SECRET = re.compile(r"PASSWORD|SECRET|_KEY$")
ADDRESS = re.compile(r"://[^:/@\s]+:(\S+?)@")
ONLY_HERE = {"MLFLOW_WEBHOOK_ALLOWED_SCHEMES", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "PREFECT_HOME"}
"""Variables for receivers on loopback, and for a temporary folder."""
ONLY_IN_CONTAINERS = {"PREFECT_UI_API_URL"}


@dataclass
class Started:
    """The command and the environment variables of a server that would have been started."""

    command: list[str]
    environment: dict[str, str]


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Started]:
    """The servers of MLflow and Prefect that `services.servers` would start, by name."""
    found = {}

    @contextmanager
    def record(
        command: Sequence[str | Path], *, log: Path, env: Mapping[str, str], **_: object
    ) -> Iterator[None]:
        found[log.stem] = Started([str(part) for part in command], dict(env))
        yield

    monkeypatch.setattr(servers, "running", record)
    s3 = {
        name: str(value)
        for name, value in SERVICES["mlflow"]["environment"].items()
        if name in COMPOSE["x-s3-client"]
    }
    with servers.mlflow_server(tmp_path, POSTGRES, s3), servers.prefect_server(tmp_path, POSTGRES):
        return found


def environments() -> Iterator[tuple[str, str]]:
    for service in SERVICES.values():
        yield from service.get("environment", {}).items()


def option(command: Sequence[str], name: str) -> str:
    return command[command.index(name) + 1]


def filled(text: object) -> str:
    return re.sub(r"\$\{\w+:\?\}", "letters", str(text))


def auth_settings(text: str) -> dict[str, str]:
    parser = ConfigParser()
    parser.read_string(text)
    return dict(parser["mlflow"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_a_tagged_image_a_restart_policy_and_a_health_check(name: str) -> None:
    service = SERVICES[name]
    built_on = re.findall(r"^FROM (\S+)", _dockerfile(name), re.MULTILINE)
    (image,) = [service["image"]] if "image" in service else built_on

    assert TAG.fullmatch(image)
    assert not image.endswith(":latest")
    assert service["restart"] in {"unless-stopped", "on-failure"}
    assert "healthcheck" in service or name == "bucket"  # a one-time job
    for other, wait in service.get("depends_on", {}).items():
        works = "healthcheck" in SERVICES[other]
        assert wait == {
            "condition": "service_healthy" if works else "service_completed_successfully"
        }


def test_a_built_image_contains_only_the_lock_file_of_the_project() -> None:
    for name in ("mlflow", "prefect"):
        copied = re.findall(r"^(?:COPY|ADD) (.+)", _dockerfile(name), re.MULTILINE)
        assert copied == ["requirements.lock ."]


def _dockerfile(name: str) -> str:
    return str(SERVICES[name].get("build", {}).get("dockerfile_inline", ""))


def test_every_variable_is_required_and_documented() -> None:
    text = yaml.safe_dump({part: COMPOSE[part] for part in ("services", "configs")}, width=1000)
    found = {match[1]: match[2] for match in READ.finditer(text)}

    assert set(found.values()) == {":?"}
    assert len(found) == 5
    for name in found:
        assert f"`{name}`" in GUIDE


def test_the_file_contains_no_secret() -> None:
    secrets = {name: value for name, value in environments() if SECRET.search(name)}
    texts = [config["content"] for config in COMPOSE["configs"].values()]
    addresses = ADDRESS.findall("\n".join([*texts, *(str(value) for _, value in environments())]))

    assert len(secrets) >= 7
    for name, value in secrets.items():
        assert re.fullmatch(r"\$\{\w+:\?\}", value), name
    assert len(addresses) == 3
    assert set(addresses) == {"${POSTGRES_PASSWORD:?}"}


def test_ports_are_open_on_loopback_only_and_match_the_commands() -> None:
    for name, port in (("s3", "9000"), ("mlflow", "5000"), ("prefect", "4200")):
        service = SERVICES[name]
        assert service["ports"] == [f"127.0.0.1:{port}:{port}"]
        if name != "s3":  # MinIO's default
            assert option(shlex.split(service["command"]), "--port") == port
            assert f"http://127.0.0.1:{port}/" in service["healthcheck"]["test"][-1]
    assert "ports" not in SERVICES["postgres"]
    hosts = option(shlex.split(SERVICES["mlflow"]["command"]), "--allowed-hosts").split(",")
    assert {host.partition(":")[2] for host in hosts} == {"5000"}
    assert SERVICES["prefect"]["environment"]["PREFECT_UI_API_URL"] == "http://127.0.0.1:4200/api"


def test_the_databases_match() -> None:
    made = re.findall(r"CREATE DATABASE (\w+);", COMPOSE["configs"]["databases"]["content"])

    assert tuple(made) == servers.DATABASES
    assert SERVICES["postgres"]["environment"]["POSTGRES_USER"] == servers.USER


def test_the_bucket_is_that_of_the_artifacts() -> None:
    assert SERVICES["bucket"]["entrypoint"].endswith(f's3/{servers.BUCKET}"')
    assert SERVICES["s3"]["environment"]["MINIO_ROOT_USER"] == servers.USER


def test_mlflow_is_started_with_the_same_options(started: Mapping[str, Started]) -> None:
    ours, theirs = started["mlflow"].command, shlex.split(SERVICES["mlflow"]["command"])

    assert ours[1:4] == ["-m", *theirs[:2]]
    for name in ("--app-name", "--artifacts-destination"):
        assert option(theirs, name) == option(ours, name)


def test_mlflow_has_the_same_users(started: Mapping[str, Started], tmp_path: Path) -> None:
    assert "mlflow" in started
    ours = auth_settings((tmp_path / "mlflow-auth.ini").read_text("utf-8"))
    theirs = auth_settings(filled(COMPOSE["configs"]["mlflow-auth.ini"]["content"]))

    assert theirs == ours
    (config,) = SERVICES["mlflow"]["configs"]
    assert SERVICES["mlflow"]["environment"]["MLFLOW_AUTH_CONFIG_PATH"] == f"/{config}"


@pytest.mark.parametrize("name", ["mlflow", "prefect"])
def test_a_server_has_the_same_environment_variables(
    name: str, started: Mapping[str, Started]
) -> None:
    ours, theirs = started[name].environment, SERVICES[name]["environment"]

    assert theirs.keys() - ONLY_IN_CONTAINERS == ours.keys() - ONLY_HERE
    for variable in theirs.keys() & ours.keys():
        if not SECRET.search(variable) and variable != "MLFLOW_AUTH_CONFIG_PATH":
            assert filled(theirs[variable]) == ours[variable], variable


def test_prefect_is_started_with_the_same_command(started: Mapping[str, Started]) -> None:
    ours, theirs = started["prefect"].command, shlex.split(SERVICES["prefect"]["command"])

    assert ours[1:5] == ["-m", *theirs[:3]]
