"""scripts/check_docs.py finds links and file names that lead nowhere."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import check_docs  # noqa: E402


def broken(text, name="docs/a.md"):
    """The lines of a document that are reported; docs/b.md, scripts/test and base/c.h exist beside it."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for file, content in {name: text, "docs/b.md": "", "scripts/test": "", "base/c.h": ""}.items():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_text(content, encoding="utf-8")
        return [int(line.split(":")[1]) for line in check_docs.check(root)]


class DocsTest(unittest.TestCase):
    def test_links_are_relative_to_their_document(self):
        self.assertEqual(broken("[b](b.md), [b](b.md#part), [up](../scripts/test)\n[web](https://example.org/x)\n"), [])
        self.assertEqual(broken("fine\n[c](c.md)\n[b](docs/b.md)\n"), [2, 3])
        self.assertEqual(broken("[b](docs/b.md)\n", name="README.md"), [])

    def test_files_named_in_code_exist(self):
        self.assertEqual(broken("run `scripts/test`, not `scripts/lost`\nscripts/lost in plain words\n"), [1])
        self.assertEqual(broken("```\nscripts/test\nscripts/lost -x\n```\n"), [3])

    def test_a_name_without_ending_stands_for_a_pair(self):
        self.assertEqual(broken("`base/c`\n`base/d`\n"), [2])

    def test_patterns_are_no_file_names(self):
        self.assertEqual(broken("`storage/*_linux*` and `tests/fuzz/NAME_corpus` and `compute/<type>.cc`\n"), [])


if __name__ == "__main__":
    unittest.main()
