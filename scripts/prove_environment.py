"""Import every installed package that `polydistill[all]` requires directly; stop at the first that fails."""  # noqa: INP001

from __future__ import annotations

import importlib
import re
import sys
from importlib.metadata import packages_distributions, requires


def modules() -> list[str]:
    """Return the names under which these packages are imported."""
    needed = {
        _normal(re.split(r"[^\w.-]", requirement, maxsplit=1)[0])
        for requirement in requires("polydistill") or []
        if not re.search(r"extra == '(dev|docs)'", requirement)
    }
    return sorted(
        module
        for module, packages in packages_distributions().items()
        if module.isidentifier() and needed.intersection(map(_normal, packages))
    )


def _normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def main() -> str | None:
    """Return an error message with a remedy; None if all imports succeed."""
    for module in modules():
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 - whatever a package raises, it cannot be used
            return (
                f"error: `import {module}` failed in the new environment ({type(error).__name__}: {error}):"
                " remove .venv and run make again; TORCH=cpu or TORCH=cuda chooses PyTorch's build."
            )
    return None


if __name__ == "__main__":
    sys.exit(main())
