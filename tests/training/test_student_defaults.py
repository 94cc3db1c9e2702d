"""Tests of the default students."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from pathlib import Path
from polydistill.training.student_defaults import student_plugin

texts = [f"ba{a}ke{b} lo{c}mi{a} tu{b}né{c}, 漢字" for a in "abcdef" for b in "ghijk" for c in "lmnop"]
print(student_plugin(None, "text", {}, texts, Path(sys.argv[1]))[0]["tokenizer"])
"""


def test_tokenizer_trained_on_the_corpus_has_the_same_bytes_in_every_process(
    tmp_path: Path,
) -> None:
    files = [
        Path(
            subprocess.run(
                [sys.executable, "-c", SCRIPT, str(tmp_path / name)],
                check=True,
                capture_output=True,
                text=True,
            ).stdout.strip()
        )
        for name in ("first", "second")
    ]
    assert files[0].read_bytes() == files[1].read_bytes()
    content = json.loads(files[0].read_text(encoding="utf-8"))
    assert [token["content"] for token in content["added_tokens"]] == ["[PAD]", "[UNK]"]
    assert {"##a", "ba", "lo"} <= content["model"]["vocab"].keys()
