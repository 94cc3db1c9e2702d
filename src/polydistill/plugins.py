"""Registries: one file in a room adds one entry, and nothing else has to change.

A room's `__init__.py` holds `LOSSES = Plugins[...]("loss", __name__)`; the file `gaussian_nll.py` in it
registers `gaussian-nll`. Names are read off the folder, so listing them imports nothing.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Generic, TypeVar, cast, get_type_hints

from pydantic import TypeAdapter, ValidationError

from polydistill.errors import ParamsError, UnknownNameError

Entry = TypeVar("Entry", bound=Callable[..., object])
Added = TypeVar("Added", bound=Callable[..., object])


class Plugins(Generic[Entry]):
    """The entries of one room, by their public kebab-case names.

    Args:
        kind: What an entry is called in messages, in the singular: `loss`.
        package: The room's dotted name: `polydistill.losses`.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._entries: dict[str, Entry] = {}

    def register(self, name: str) -> Callable[[Added], Added]:
        """Return a decorator that adds an entry under `name`, which its file is named after."""

        def add(entry: Added) -> Added:
            self._entries[name] = cast("Entry", entry)
            return entry

        return add

    def names(self) -> list[str]:
        """List the known names, sorted, from the room's file names, without importing them."""
        return names_in(self.package)

    def get(self, name: str) -> Entry:
        """Import the file of `name` and return its entry.

        Raises:
            UnknownNameError: No file of this room is named so.
        """
        if name not in self._entries:
            if name not in self.names():
                raise UnknownNameError(self.kind, name, self.names())
            import_module(f"{self.package}.{name.replace('-', '_')}")
        return self._entries[name]

    def check(self, name: str, options: Mapping[str, object], *, given: frozenset[str]) -> None:
        """Refuse an unknown name, and an option that is unknown, missing or of a wrong type, before anything runs.

        Args:
            name: The entry.
            options: What `params.yaml` says beside the name.
            given: Arguments that the caller passes itself, and that are no options.

        Raises:
            UnknownNameError: `name`, or a key of `options`, is not known.
            ParamsError: The entry needs an option that is not there, or one is of another type than annotated.
        """
        entry = self.get(name)  # students are made by their classmethod `build`
        made_by = getattr(entry, "build", entry)
        arguments = inspect.signature(made_by).parameters
        known = {key for key in arguments if key not in given and key != "self"}
        for key in options:
            if key not in known:
                raise UnknownNameError(f"option of {self.kind} {name!r}", key, known)
        needed = {key for key in known if arguments[key].default is inspect.Parameter.empty}
        if missing := sorted(needed - set(options)):
            raise ParamsError(
                f"{self.kind} {name!r} needs the option {missing[0]!r} in params.yaml."
            )
        types = get_type_hints(made_by.__init__ if inspect.isclass(made_by) else made_by)
        for key in sorted(options.keys() & types.keys()):
            try:
                TypeAdapter(types[key]).validate_python(options[key], strict=True)
            except ValidationError as error:
                raise ParamsError(
                    f"option {key!r} of {self.kind} {name!r} in params.yaml: {error.errors()[0]['msg']} "
                    f"(got {options[key]!r})."
                ) from error

    def option_defaults(self, name: str, *, given: frozenset[str]) -> dict[str, object]:
        """Return the options that an entry has a default for; `given` are no options, as in `check`."""
        entry = self.get(name)
        found = defaults_of(getattr(entry, "build", entry))
        return {key: value for key, value in found.items() if key not in given}


def names_in(package: str) -> list[str]:
    """List the public names in a room, sorted, from its file names, without importing it."""
    room = find_spec(package)
    folders = [] if room is None else room.submodule_search_locations
    files = (module.name for module in pkgutil.iter_modules(folders) if not module.ispkg)
    return sorted(file.replace("_", "-") for file in files if not file.startswith("_"))


def defaults_of(entry: Callable[..., object]) -> dict[str, object]:
    """Return the options that an entry has a default for, by name."""
    arguments = inspect.signature(entry).parameters.items()
    return {
        name: one.default for name, one in arguments if one.default is not inspect.Parameter.empty
    }
