"""Runs git as a command: reports the state of the code, and makes worktrees at other commits."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from polydistill.errors import MissingDataError, StageError

CODE = ("src", "flows", "recipes")
NOT_CODE = "__pycache__"
NO_HOOKS = ("-c", "core.hooksPath=/dev/null")  # otherwise DVC's hook checks out data in a worktree
TIMEOUT_S = 300.0


def head_commit(root: Path) -> str | None:
    """Return the commit that is checked out, or None if there is no git, no repository or no commit."""
    try:
        return _git(root, "rev-parse", "--verify", "HEAD^{commit}").strip()
    except StageError:
        return None


def committed(root: Path, file: Path) -> bytes | None:
    """Return the content of a file of a folder in the last commit, or None if it is in none."""
    try:
        return _git(root, "show", f"HEAD:./{file.as_posix()}").encode()
    except StageError:
        return None


def code_differences(project: Path, commit: str, folders: Mapping[Path, str]) -> list[str]:
    """Return the code files that were changed, added or removed since a commit.

    Args:
        project: The project folder, inside the repository.
        commit: The commit to compare with.
        folders: For each folder of code, the project folder that it is a copy of. A workspace's `src` is a copy of
            the project's `src`, and an installed package is a copy of `src/polydistill`.

    Returns:
        The sorted paths of these files, relative to the project, without files that git ignores.
    """
    lines = _git(project, "ls-tree", "-r", "-z", commit, "--", *CODE).split("\0")
    entries = (line.split("\t", 1) for line in lines if line)
    committed = {path: entry.split()[2] for entry, path in entries}
    different: set[str] = set()
    for folder, place in folders.items():
        files = {
            f"{place}/{file.relative_to(folder).as_posix()}": file
            for file in sorted(folder.rglob("*"))
            if file.is_file() and NOT_CODE not in file.parts
        }
        known = {path: digest for path, digest in committed.items() if path.startswith(f"{place}/")}
        listed = "".join(f"{file.resolve()}\n" for file in files.values())
        found = _git(project, "hash-object", "--stdin-paths", stdin=listed).split()
        digests = dict(zip(files, found, strict=True))
        different |= {path for path in known if digests.get(path) != known[path]}
        different |= _not_ignored(project, sorted(digests.keys() - known.keys()))
    return sorted(different)


def require_identity() -> None:
    """Check that an author name for commits is configured in git.

    Raises:
        StageError: No name is configured, or git is not installed.
    """
    try:
        _git(Path(), "var", "GIT_COMMITTER_IDENT")
    except StageError as error:
        raise StageError(
            'Git must know your name for the first commit: `git config --global user.name "Your Name"` and '
            "`git config --global user.email you@example.org`, then run this again."
        ) from error


def commit_all(folder: Path, message: str) -> None:
    """Commit all files of a repository that are not ignored.

    Raises:
        StageError: Git failed.
    """
    _git(folder, "add", "--all")
    _git(folder, *NO_HOOKS, "commit", "--quiet", "--message", message)


def init(folder: Path) -> None:
    """Initialize a git repository in a folder.

    Raises:
        StageError: Git failed.
    """
    _git(folder, "init", "--quiet")


def require_commit(project: Path, commit: str) -> None:
    """Check that this clone contains a commit.

    Raises:
        MissingDataError: The commit is not in this clone.
    """
    try:
        _git(project, "cat-file", "-e", f"{commit}^{{commit}}")
    except StageError as error:
        raise MissingDataError(
            f"Commit {commit} is not in this clone of the repository: `git fetch --all`, then run "
            "this again."
        ) from error


def add_worktree(project: Path, commit: str, folder: Path) -> Path:
    """Check out a commit in a new worktree without a branch, and return the project folder in it.

    Raises:
        StageError: Git failed.
    """
    prefix = _git(project, "rev-parse", "--show-prefix").strip()
    _git(project, *NO_HOOKS, "worktree", "add", "--quiet", "--detach", str(folder), commit)
    return folder / prefix


def remove_worktree(project: Path, folder: Path) -> None:
    """Remove a worktree that `add_worktree` made, with everything in it.

    Raises:
        StageError: The folder is not a worktree.
    """
    _git(project, "worktree", "remove", "--force", str(folder))


def _not_ignored(project: Path, paths: Sequence[str]) -> set[str]:
    """Return the paths that git does not ignore."""
    text = "".join(f"{path}\0" for path in paths)
    ignored = _git(project, "check-ignore", "-z", "--stdin", stdin=text, fine=(0, 1))
    return set(paths) - set(ignored.split("\0"))


def _git(root: Path, *arguments: str, stdin: str | None = None, fine: Sequence[int] = (0,)) -> str:
    """Return the standard output of a git command.

    Raises:
        StageError: Git is not installed, or its exit code is not one of `fine`.
    """
    command = ["git", "-C", str(root), *arguments]
    try:
        result = subprocess.run(
            command, input=stdin, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise StageError(f"`git {arguments[0]}` did not run: {error}.") from error
    if result.returncode not in fine:
        raise StageError(f"`git {' '.join(arguments)}` failed: {result.stderr.strip()}")
    return result.stdout
