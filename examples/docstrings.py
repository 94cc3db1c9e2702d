"""A corpus that comes with Python: the first sentences of the standard library's docstrings."""

from __future__ import annotations

import inspect
from importlib import import_module

import pandas as pd

TOPICS = {
    "dates and time": ["calendar", "datetime", "time", "zoneinfo", "sched"],
    "files": ["os", "pathlib", "shutil", "glob", "tempfile", "zipfile", "tarfile", "io", "gzip", "mmap"],
    "mathematics": ["decimal", "fractions", "math", "cmath", "random", "statistics", "numbers"],
    "network": ["http.client", "urllib.request", "ssl", "socket", "smtplib", "ftplib", "imaplib", "ipaddress"],
    "processes": ["asyncio", "threading", "multiprocessing", "subprocess", "signal", "queue", "concurrent.futures"],
    "text": ["email.message", "string", "textwrap", "re", "difflib", "html.parser", "csv", "json", "unicodedata"],
    "code": ["ast", "inspect", "dis", "pdb", "tokenize", "unittest", "unittest.mock", "doctest", "importlib", "typing"],
}  # fmt: skip
"""Modules of the standard library, by topic."""


def docstrings() -> pd.DataFrame:
    """Return the distinct sentences in a random order: `text`, `label` (the topic)."""
    rows: dict[str, str] = {}
    for topic, modules in TOPICS.items():
        for module in map(import_module, modules):
            classes = [one for _, one in inspect.getmembers(module, inspect.isclass)]
            for owner in [module, *classes]:
                if not getattr(owner, "__module__", module.__name__).startswith(module.__name__):
                    continue  # a class that this module only imports
                for _, member in inspect.getmembers(owner, callable):
                    sentence = " ".join((inspect.getdoc(member) or "").split("\n\n")[0].split())
                    if 20 < len(sentence) < 300:
                        rows.setdefault(sentence, topic)
    table = pd.DataFrame({"text": list(rows), "label": list(rows.values())})
    return table.sample(frac=1, random_state=0).reset_index(drop=True)
