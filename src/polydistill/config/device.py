"""The device on which models run."""

from functools import cache

from polydistill.errors import ParamsError


def device_for(setting: str) -> str:
    """Return the device for a setting. For `auto`, this is an accelerator if the machine has one, and else the CPU.

    Raises:
        ParamsError: PyTorch finds no such device on this machine.

    Examples:
        >>> device_for("cpu")
        'cpu'
    """
    found = devices()
    wanted = {"auto": found[0], "cuda": "cuda:0"}.get(setting, setting)
    if wanted not in found:
        raise ParamsError(
            f"`device` is {setting}, but PyTorch finds only {', '.join(found)} on this machine: set `device: auto`, or "
            "install PyTorch for this accelerator (`make .venv TORCH=cuda`)."
        )
    return wanted


@cache
def devices() -> tuple[str, ...]:
    """Return the devices of this machine, the fastest first."""
    import torch

    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return (*cuda, *mps, "cpu")
