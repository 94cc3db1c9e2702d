"""Plug-in registries. To add a plug-in, add one file to a plug-in package; nothing else has to change.

For example, `losses/__init__.py` defines `LOSSES = Plugins[...]("loss", __name__)`, and `losses/gaussian_nll.py`
registers `gaussian-nll`. Plug-in names are file names, so listing them imports nothing. Sub-packages, and files whose
names start with an underscore, are not plug-ins.
"""

import inspect
import pkgutil
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Generic, TypeVar, cast, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from polydistill.errors import ParamsError, UnknownNameError, short

Entry = TypeVar("Entry", bound=Callable[..., object])
FINITE = ConfigDict(allow_inf_nan=False)
Added = TypeVar("Added", bound=Callable[..., object])


class Plugins(Generic[Entry]):
    """The plug-ins of one package, by their public kebab-case names.

    Args:
        kind: The singular noun for a plug-in in messages, such as `loss`.
        package: The package's dotted name, such as `polydistill.losses`.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._entries: dict[str, Entry] = {}

    def register(self, name: str) -> Callable[[Added], Added]:
        """Return a decorator that registers a plug-in under `name`, which must match its file's name."""

        def add(entry: Added) -> Added:
            self._entries[name] = cast("Entry", entry)
            return entry

        return add

    def names(self) -> list[str]:
        """List the known names, sorted, without importing the plug-ins."""
        return names_in(self.package)

    def get(self, name: str) -> Entry:
        """Import the file of `name` and return its plug-in.

        Raises:
            UnknownNameError: The package has no file of this name.
        """
        if name not in self._entries:
            if name not in self.names():
                raise UnknownNameError(self.kind, name, self.names())
            import_module(f"{self.package}.{name.replace('-', '_')}")
        return self._entries[name]

    def check(self, name: str, options: Mapping[str, object]) -> None:
        """Validate a plug-in's name and options before anything runs. Options are keyword-only arguments.

        Args:
            name: The plug-in's name.
            options: The options that `params.yaml` gives together with the name.

        Raises:
            UnknownNameError: `name`, or a key of `options`, is not known.
            ParamsError: A required option is missing, or an option does not have the annotated type and bounds.
        """
        made_by = self._made_by(name)
        known = _options_of(made_by)
        for key in options:
            if key not in known:
                raise UnknownNameError(f"option of {self.kind} {name!r}", key, known)
        if missing := sorted(known.keys() - options.keys() - defaults_of(made_by).keys()):
            raise ParamsError(
                f"{self.kind} {name!r} needs the option {missing[0]!r} in params.yaml."
            )
        takes = made_by.__init__ if inspect.isclass(made_by) else made_by
        types = get_type_hints(takes, include_extras=True)
        for key in sorted(options.keys() & types.keys()):
            try:
                TypeAdapter(types[key], config=FINITE).validate_python(options[key], strict=True)
            except ValidationError as error:
                raise ParamsError(
                    f"option {key!r} of {self.kind} {name!r} in params.yaml: {error.errors()[0]['msg']} "
                    f"(got {short(options[key])})."
                ) from error

    def takes(self, name: str, option: str) -> bool:
        """Return whether a plug-in has an option."""
        return option in _options_of(self._made_by(name))

    def option_defaults(self, name: str) -> dict[str, object]:
        """Return the default values of a plug-in's options; options without a default are omitted."""
        return defaults_of(self._made_by(name))

    def _made_by(self, name: str) -> Callable[..., object]:
        """Return the callable that takes the options: the classmethod `build` if the plug-in has one."""
        entry = self.get(name)
        return getattr(entry, "build", entry)


def names_in(package: str) -> list[str]:
    """List the plug-in names of a package, sorted, without importing it."""
    spec = find_spec(package)
    folders = [] if spec is None else spec.submodule_search_locations
    files = (module.name for module in pkgutil.iter_modules(folders) if not module.ispkg)
    return sorted(file.replace("_", "-") for file in files if not file.startswith("_"))


def _options_of(entry: Callable[..., object]) -> dict[str, inspect.Parameter]:
    arguments = inspect.signature(entry).parameters
    return {name: one for name, one in arguments.items() if one.kind is one.KEYWORD_ONLY}


def defaults_of(entry: Callable[..., object]) -> dict[str, object]:
    """Return the default values of a plug-in's options by name; options without a default are omitted."""
    options = _options_of(entry)
    return {name: one.default for name, one in options.items() if one.default is not one.empty}
