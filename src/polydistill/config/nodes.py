"""Base classes and types of the settings: frozen nodes, plug-ins with options, bounded numbers with units."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Node(BaseModel):
    """A node of the settings tree. It is frozen and refuses unknown keys.

    The docstring under an attribute is the description of the setting, which `polydistill params` shows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


PLUGIN_KEYS = frozenset({"name", "family"})
"""Keys that name a plug-in; all other keys of its block are options."""


class Plugin(BaseModel):
    """A plug-in: its name and the options of its factory, which `plugins` checks.

    In `params.yaml`, a block with a `name` is complete: no default option is added. A block without a `name`
    changes options of the default plug-in.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def options(self) -> dict[str, object]:
        """All keys except `name`."""
        return dict(self.model_extra or {})


Share = Annotated[float, Field(ge=0, le=1, json_schema_extra={"unit": "share"})]
Score = Annotated[float, Field(json_schema_extra={"unit": "score"})]
ScoreMargin = Annotated[float, Field(ge=0, json_schema_extra={"unit": "score"})]
Positive = Annotated[int, Field(ge=1)]
Rows = Annotated[int, Field(ge=1, json_schema_extra={"unit": "rows"})]
Epochs = Annotated[int, Field(ge=1, json_schema_extra={"unit": "epochs"})]
Steps = Annotated[int, Field(ge=0, json_schema_extra={"unit": "steps"})]
Rate = Annotated[float, Field(gt=0)]
Ratio = Annotated[float, Field(gt=0, json_schema_extra={"unit": "ratio"})]
Milliseconds = Annotated[float, Field(gt=0, json_schema_extra={"unit": "ms"})]
Megabytes = Annotated[float, Field(gt=0, json_schema_extra={"unit": "MB"})]
"""10^6 bytes."""
