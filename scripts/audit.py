"""Report known vulnerabilities of the locked packages; if PyPI has no advisories to read, print a note and exit with 0."""  # noqa: INP001

import json
import subprocess
import sys
from pathlib import Path

AUDIT = (
    "-m",
    "pip_audit",
    "-r",
    "requirements.lock",
    "--no-deps",
    "--disable-pip",
    "--format=json",
)
AUDIT += ("--vulnerability-service=pypi", "--progress-spinner=off", "--timeout=5")


def main() -> str | None:
    """Return what is wrong, or None."""
    try:
        finished = subprocess.run(
            [sys.executable, *AUDIT],
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        packages = json.loads(finished.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError):
        packages = []
    audited = [one for one in packages if "vulns" in one]
    found = [
        f"{one['name']} {one['version']}: {row['id']}, fixed in {', '.join(row['fix_versions']) or 'no version'}"
        for one in audited
        for row in one["vulns"]
    ]
    if not audited:
        sys.stdout.write(
            "pip-audit: PyPI's advisories cannot be read here; no package is audited.\n"
        )
    return "\n".join(["Vulnerable packages in requirements.lock:", *found]) if found else None


if __name__ == "__main__":
    sys.exit(main())
