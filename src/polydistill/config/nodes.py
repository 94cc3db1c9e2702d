"""What every node of the settings is made of: frozen classes, plug-ins with options, bounded numbers with units."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Tree(BaseModel):
    """A node of the tree: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


PLUGIN_KEYS = frozenset({"name", "family"})
"""What names a plug-in in its block: what is beside it are options."""


class Plugin(BaseModel):
    """A plug-in's name and, beside it, the options of its factory; `plugins` checks those.

    In `params.yaml`, a block with a `name` is complete: no default option is added. A block without one
    changes options of the default plug-in.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def options(self) -> dict[str, object]:
        """The options beside the name."""
        return dict(self.model_extra or {})


def _unit(name: str) -> dict[str, object]:
    return {"unit": name}


Share = Annotated[float, Field(ge=0, le=1, json_schema_extra=_unit("share"))]
Score = Annotated[float, Field(json_schema_extra=_unit("score"))]
ScoreMargin = Annotated[float, Field(ge=0, json_schema_extra=_unit("score"))]
Positive = Annotated[int, Field(ge=1)]
Rows = Annotated[int, Field(ge=1, json_schema_extra=_unit("rows"))]
Epochs = Annotated[int, Field(ge=1, json_schema_extra=_unit("epochs"))]
Steps = Annotated[int, Field(ge=0, json_schema_extra=_unit("steps"))]
Rate = Annotated[float, Field(gt=0)]
Ratio = Annotated[float, Field(gt=0, json_schema_extra=_unit("ratio"))]
Milliseconds = Annotated[float, Field(gt=0, json_schema_extra=_unit("ms"))]
Megabytes = Annotated[float, Field(gt=0, json_schema_extra=_unit("MB"))]
"""10^6 bytes."""
