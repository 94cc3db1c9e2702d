from __future__ import annotations

import getpass
import os

import pytest

from polydistill.integrations.mlflow.ledger import ACTOR_VARIABLE, CI_VARIABLES, actor


def test_who_is_the_variable_then_ci_then_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (ACTOR_VARIABLE, *CI_VARIABLES):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(getpass, "getuser", lambda: "ada")
    found = [actor()]

    monkeypatch.setenv(CI_VARIABLES[0], "octocat")
    found.append(actor())
    monkeypatch.setenv(ACTOR_VARIABLE, "nightly")
    found.append(actor())

    assert found == ["ada", "octocat", "nightly"]


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (ACTOR_VARIABLE, *CI_VARIABLES):
        monkeypatch.delenv(variable, raising=False)

    def nameless() -> str:
        raise KeyError

    monkeypatch.setattr(getpass, "getuser", nameless)

    assert actor() == f"uid-{os.getuid()}"
