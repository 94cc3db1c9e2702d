"""Checksums of large files, each computed once for a size and a time of change."""

import os
from contextlib import suppress
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from polydistill.project.files import sha256_of

KNOWN = TypeAdapter(dict[str, tuple[int, int, str]])
"""By path: the size in bytes, the time of the last change in nanoseconds, and the sha256."""


class Checksums:
    """Compares files with checksums. A file that has not changed since an earlier comparison is not read again.

    Args:
        note: The file that keeps the results of comparisons; None: every file is read.
        verify: Whether to read all files, also those in the note.
    """

    def __init__(self, note: Path | None = None, *, verify: bool = False) -> None:
        self._note, self._known, self._changed = note, KNOWN.validate_python({}), False
        if note is not None and not verify:
            with suppress(OSError, ValidationError):  # the note is only a shortcut
                self._known = KNOWN.validate_json(note.read_bytes())

    def match(self, path: Path, sha256: str) -> bool:
        """Return whether a file has this sha256, 64 hexadecimal digits."""
        state, name = path.stat(), str(path.absolute())
        if self._known.get(name) == (state.st_size, state.st_mtime_ns, sha256):
            return True
        if sha256_of(path) != sha256:
            return False
        self.add(path, sha256)
        return True

    def add(self, path: Path, sha256: str) -> None:
        """Note the checksum of a file that has just been written."""
        state = path.stat()
        self._known[str(path.absolute())] = (state.st_size, state.st_mtime_ns, sha256)
        self._changed = True

    def save(self) -> None:
        """Write the note, if there is one; files that no longer exist are left out."""
        if self._note is not None and self._changed:
            kept = {path: one for path, one in self._known.items() if Path(path).exists()}
            self._note.parent.mkdir(parents=True, exist_ok=True)
            # Stages that run side by side write the same note; the last one wins.
            unfinished = self._note.with_name(f".{self._note.name}.{os.getpid()}")
            unfinished.write_bytes(KNOWN.dump_json(kept))
            unfinished.replace(self._note)
            self._changed = False
