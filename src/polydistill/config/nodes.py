"""Base classes and types of the settings: frozen nodes, plug-ins with options, bounded numbers with units."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from polydistill.errors import ParamsError, short

STRICT = ConfigDict(frozen=True, use_attribute_docstrings=True, strict=True, allow_inf_nan=False)
"""Of all nodes: values are not converted (`true` is no number), and numbers are finite."""


class Node(BaseModel):
    """A node of the settings tree. It is frozen and refuses unknown keys and values of another type.

    The docstring under an attribute is the description of the setting, which `polydistill params` shows.
    """

    model_config = STRICT | ConfigDict(extra="forbid")


PLUGIN_KEYS = frozenset({"name", "family"})
"""Keys that name a plug-in; all other keys of its block are options."""


class Plugin(BaseModel):
    """A plug-in: its name and the options of its factory, which `plugins` checks.

    In `params.yaml`, a block with a `name` is complete: no default option is added. A block without a `name`
    changes options of the default plug-in.
    """

    model_config = STRICT | ConfigDict(extra="allow")
    name: str

    @property
    def options(self) -> dict[str, object]:
        """All keys except `name`."""
        return dict(self.model_extra or {})


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""A dot would separate the keys of DVC's parameters."""
UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def checked_name(name: object, also: str = "") -> str:
    """Return the name of a task or teacher, which names files, stages of DVC and keys of parameters.

    Args:
        name: The name.
        also: Further characters that may follow the first one.

    Raises:
        ParamsError: The name has other characters than letters, digits, `-` and `_`, or is too long.

    Examples:
        >>> checked_name("e5-small")
        'e5-small'
    """
    if not isinstance(name, str) or not NAME.fullmatch(
        name.translate({ord(one): "-" for one in also})
    ):
        raise ParamsError(
            f"The name of a task or teacher must be 1 to 64 letters (a to z), digits, {' '.join('-_' + also)}, and "
            f"begin with a letter or digit, got {short(name)}."
        )
    return name


def teacher_name(name: object, also: str = "") -> str:
    """Return the name of a teacher; see `checked_name`.

    Raises:
        ParamsError: The name is not safe, or it is the name of a student in tables of scores.
    """
    if name in {"student", "undistilled", "champion"}:
        raise ParamsError(f"A teacher cannot have the name {name!r}, which is a student's.")
    return checked_name(name, also)


def safe_name(text: str) -> str:
    """Return a name for a teacher, made from the name of a folder, file or object.

    Examples:
        >>> safe_name("Größe (v1.5)")
        'Gr-e-v1.5'
    """
    return UNSAFE.sub("-", text).strip("._-")[:64] or "teacher"


Item = TypeVar("Item")
Several = Annotated[tuple[Item, ...], Field(strict=False)]
"""A list in YAML."""


def without_credentials(path: str) -> str:
    """Return a path or URL, which is shown in messages and logged with a run.

    Raises:
        ParamsError: The URL holds a user name or a password.
    """
    if re.search("://[^/]*@", path):
        raise ParamsError(
            "the URL must not hold credentials, because settings are logged: give them by the environment or by a "
            "configuration file of the store."
        )
    return path


def checked_url(url: str) -> str:
    """Return a URL.

    Raises:
        ParamsError: It is no URL, or it holds a user name or a password.
    """
    if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9+.-]*://\S+", url):
        raise ParamsError(f"must be a URL, such as s3://bucket/folder, got {short(url)}.")
    return without_credentials(url)


Url = Annotated[str, AfterValidator(checked_url)]
Name = Annotated[str, AfterValidator(checked_name)]
TeacherName = Annotated[str, AfterValidator(teacher_name)]
Text = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""A path or the name of a column."""
Share = Annotated[float, Field(ge=0, le=1, json_schema_extra={"unit": "share"})]
Score = Annotated[float, Field(json_schema_extra={"unit": "score"})]
ScoreMargin = Annotated[float, Field(ge=0, json_schema_extra={"unit": "score"})]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Threads = Annotated[int, Field(ge=1, le=1024)]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:[0-9]{1,2})?)$")]
"""See `device.device_for`."""
Precision = Literal["float32", "bfloat16", "float16"]
Count = Annotated[int, Field(ge=1, le=10**6)]
Rows = Annotated[int, Field(ge=1, le=10**12, json_schema_extra={"unit": "rows"})]
Epochs = Annotated[int, Field(ge=1, le=10_000, json_schema_extra={"unit": "epochs"})]
Steps = Annotated[int, Field(ge=0, le=10**9, json_schema_extra={"unit": "steps"})]
Rate = Annotated[float, Field(gt=0, le=100)]
Ratio = Annotated[float, Field(gt=0, json_schema_extra={"unit": "ratio"})]
Milliseconds = Annotated[float, Field(gt=0, json_schema_extra={"unit": "ms"})]
Megabytes = Annotated[float, Field(gt=0, json_schema_extra={"unit": "MB"})]
"""10^6 bytes."""
Width = Annotated[int, Field(ge=1, le=65_536)]
"""A number of dimensions, units or components. This and the types below are for options of plug-ins."""
Depth = Annotated[int, Field(ge=1, le=256)]
Pixels = Annotated[int, Field(ge=8, le=4096)]
Limit = Annotated[int, Field(ge=0, le=10**12)]
Factor = Annotated[float, Field(gt=0, le=1e6)]
Below1 = Annotated[float, Field(ge=0, lt=1)]
Colour = Annotated[Sequence[float], Field(min_length=3, max_length=3)]
"""One number per colour channel."""
