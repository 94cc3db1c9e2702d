"""Read the descriptions of Debian's packages from apt's package lists."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from polydistill.errors import StageError

SKIPPED_SECTIONS = {"debug", "libdevel", "oldlibs", "localization", "metapackages"}
STANZA_FIELD = re.compile(
    r"^(Package|Source|Section|Description|Description-en|Description-md5): ((?:.*)(?:\n .*)*)$",
    re.MULTILINE,
)
COLUMNS = ["package", "source", "section", "description", "long"]
MOST_SOURCES = 5
"""A paragraph in the descriptions of more source packages than this is boilerplate."""
MOST_WORDS, LEAST_WORDS = 300, 8


def read_apt() -> pd.DataFrame:
    """Download Debian's package lists into a temporary folder, and return the short and long descriptions.

    Raises:
        StageError: apt is missing, or cannot download the lists.
    """
    with TemporaryDirectory() as folder:
        lists = Path(folder) / "lists"
        (lists / "partial").mkdir(parents=True)
        own = ["-o", f"Dir::State::Lists={lists}", "-o", "Acquire::Languages=en"]
        _output(["apt-get", "-qq", *own, "update"])
        parts = {
            kind: "\n\n".join(
                _output(["apt-helper", "cat-file", str(file)]) for file in sorted(lists.glob(kind))
            )
            for kind in ("*_Packages*", "*Translation-en*")
        }
    found = parse_stanzas(parts["*_Packages*"], parts["*Translation-en*"])
    if not found:
        raise StageError("apt has no package lists: see `apt-get update`.")
    return pd.DataFrame([found[name] for name in sorted(found)], columns=COLUMNS)


def _output(command: list[str]) -> str:
    name = command[0]
    client = shutil.which(name) or shutil.which(name, path="/usr/lib/apt")
    if client is None:
        raise StageError(
            f"Reading Debian's package lists needs `{name}`. `dvc pull data.dvc` downloads a frozen copy of them."
        )
    finished = subprocess.run([client, *command[1:]], capture_output=True, text=True, check=False)
    if finished.returncode:
        raise StageError(f"{' '.join(command[:2])} failed: {finished.stderr.strip()}")
    return finished.stdout


def parse_stanzas(packages: str, translations: str) -> dict[str, tuple[str, str, str, str, str]]:
    """Return name, source package, section, short and long description by package name.

    If a package has several stanzas, the last one counts. Stanzas without section or description are ignored.

    Args:
        packages: The content of apt's files `Packages`, which have the short descriptions.
        translations: The content of the files `Translation-en`, which have the long ones.
    """
    long = {
        fields["Description-md5"]: fields["Description-en"].partition("\n")[2]
        for fields in _stanzas(translations)
        if {"Description-md5", "Description-en"} <= set(fields)
    }
    found = {}
    for fields in _stanzas(packages):
        short = fields.get("Description", "").partition("\n")[0]
        if short and {"Package", "Section"} <= set(fields):
            name = fields["Package"]
            source = fields.get("Source", name).split(" ")[0]
            section = fields["Section"].split("/")[-1]
            found[name] = (
                name,
                source,
                section,
                short,
                long.get(fields.get("Description-md5", ""), ""),
            )
    return found


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    for stanza in text.split("\n\n"):
        yield dict(STANZA_FIELD.findall(stanza))


def make_debian_rows(debian: pd.DataFrame) -> pd.DataFrame:
    """Return a table of short and long descriptions, without boilerplate.

    The label is the section, `origin` is the source package, and `words` is the package. A paragraph that several
    packages of one source package share is in the first of them only. Long descriptions have 8 to 300 words.
    """
    kept = debian[~debian["section"].isin(SKIPPED_SECTIONS)]
    common = {
        "label": kept["section"],
        "origin": "debian-" + kept["source"],
        "words": kept["package"],
    }
    short = pd.DataFrame({"text": kept["description"], "source": "debian", **common})
    long = pd.DataFrame({"text": _documents(kept), "source": "debian-long", **common})
    return pd.concat([short, long[long["text"] != ""]], ignore_index=True)


def _documents(debian: pd.DataFrame) -> list[str]:
    """Return the paragraphs of each package that belong to it alone, as one text; empty if they are too short."""
    paragraphs = [_paragraphs(long) for long in debian["long"]]
    sources = Counter(
        paragraph
        for paragraph, _ in {
            (one.casefold(), source)
            for its, source in zip(paragraphs, debian["source"], strict=True)
            for one in its
        }
    )
    seen, found = set[str](), []
    for its in paragraphs:
        own = [
            one
            for one in its
            if one.casefold() not in seen and sources[one.casefold()] <= MOST_SOURCES
        ]
        seen |= {one.casefold() for one in own}
        text = _shortened(own)
        found.append(text if len(text.split()) >= LEAST_WORDS else "")
    return found


def _paragraphs(long: str) -> list[str]:
    """Return the paragraphs of a long description, each on one line; a line with one dot separates them."""
    parts = re.split(r"^ \.$", long, flags=re.MULTILINE)
    return [joined for part in parts if (joined := " ".join(part.split()))]


def _shortened(paragraphs: list[str]) -> str:
    """Return whole paragraphs, and of the first one only its start, up to `MOST_WORDS` words."""
    kept: list[str] = []
    for paragraph in paragraphs:
        words = paragraph.split()
        if len(kept) + len(words) > MOST_WORDS:
            return " ".join(kept or words[:MOST_WORDS])
        kept += words
    return " ".join(kept)
