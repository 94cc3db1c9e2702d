"""Read texts: WordNet's glosses from a pinned package, Debian's descriptions from apt's package lists."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pandas as pd

from polydistill.errors import MissingDataError, StageError

SKIPPED_SECTIONS = {"debug", "libdevel", "oldlibs", "localization", "metapackages"}
LEXFILES = (
    *("Tops", "act", "animal", "artifact", "attribute", "body", "cognition", "communication"),
    *("event", "feeling", "food", "group", "location", "motive", "object", "person"),
    *("phenomenon", "plant", "possession", "process", "quantity", "relation", "shape", "state"),
    *("substance", "time"),
)
"""WordNet's lexicographer files of nouns: numbers 3 to 28 in lexnames(5WN)."""
STANZA_FIELD = re.compile(r"^(Package|Source|Section|Description(?:-en)?): (.*)$", re.MULTILINE)


def read_wordnet(archive: Path) -> tuple[str, pd.DataFrame]:
    """Return the licence, and a table of definitions and examples.

    Only definitions of nouns have a label, the name of the noun's lexicographer file.
    """
    licence, found = [], []
    with tarfile.open(archive) as package:
        for part in ("noun", "verb", "adj", "adv"):
            member = package.extractfile(f"package/dict/data.{part}")
            if member is None:
                raise MissingDataError(f"No data.{part} in {archive}.")
            for line in member.read().decode("utf-8").splitlines():
                if line.startswith("  "):  # the licence is at the top of each file
                    licence += [line.strip().partition(" ")[2]] if part == "noun" else []
                    continue
                head, gloss = line.split(" | ", 1)
                offset, lexfile = head.split()[:2]
                definition, *examples = re.split(r';\s*"', gloss.strip())
                label = LEXFILES[int(lexfile) - 3] if part == "noun" else None
                origin = f"wordnet-{part}-{offset}"
                found.append((definition.strip(' ;"'), label, "wordnet", origin))
                found += [(text.strip(' ;"'), None, "wordnet-example", origin) for text in examples]
    rows = pd.DataFrame(found, columns=["text", "label", "source", "origin"])
    return "\n".join(licence) + "\n", rows


def read_apt() -> pd.DataFrame:
    """Return the short descriptions in apt's package lists.

    Raises:
        StageError: `apt-cache` is missing, or apt has no package lists.
    """
    client = shutil.which("apt-cache")
    if client is None:
        raise StageError(
            "Reading Debian's package lists needs `apt-cache`. `dvc pull data.dvc` downloads a frozen copy of them."
        )
    command = [client, "dumpavail"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    found = parse_stanzas(finished.stdout)
    if finished.returncode or not found:
        raise StageError(f"apt has no package lists: run `apt-get update` first. {finished.stderr}")
    columns = ["package", "source", "section", "description"]
    return pd.DataFrame([found[name] for name in sorted(found)], columns=columns)


def parse_stanzas(text: str) -> dict[str, tuple[str, str, str, str]]:
    """Return name, source package, section and short description by package name.

    If a package has several stanzas, the last one counts. Stanzas without section or description are ignored.
    """
    found = {}
    for stanza in text.split("\n\n"):
        fields: dict[str, str] = dict(STANZA_FIELD.findall(stanza))
        description = fields.get("Description", fields.get("Description-en", ""))
        if description and {"Package", "Section"} <= set(fields):
            name = fields["Package"]
            source = fields.get("Source", name).split(" ")[0]
            found[name] = (name, source, fields["Section"].split("/")[-1], description)
    return found


def make_debian_rows(debian: pd.DataFrame) -> pd.DataFrame:
    """Return a table of descriptions. The label is the section; `origin` is the source package."""
    kept = debian[~debian["section"].isin(SKIPPED_SECTIONS)]
    return pd.DataFrame(
        {
            "text": kept["description"],
            "label": kept["section"],
            "source": "debian",
            "origin": "debian-" + kept["source"],
        }
    )
