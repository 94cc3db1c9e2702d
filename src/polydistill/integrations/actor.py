"""The name of the person or service that acts, for the ledger; never a host."""

import getpass
import os

ACTOR_VARIABLE = "POLYDISTILL_ACTOR"
CI_VARIABLES = ("GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILD_USER_ID")
"""The user who started a job on GitHub, GitLab and Jenkins."""


def actor() -> str:
    """Return `POLYDISTILL_ACTOR`, or the user who started the CI job, or the user of the operating system."""
    for variable in (ACTOR_VARIABLE, *CI_VARIABLES):
        name = os.environ.get(variable, "").strip()
        if name:
            return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"uid-{os.getuid()}"
