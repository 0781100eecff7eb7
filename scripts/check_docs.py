#!/usr/bin/env python3
"""Links and file names in the documents lead somewhere; prints `path:line: message` and exits 1 when one does not.

usage: check_docs.py [--root DIR]

Looks at every Markdown file that git tracks or would track: relative links, and files of this tree named in code.
"""

import argparse
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from check_style import FOLDERS, list_files  # noqa: E402

LINK = re.compile(r"\]\(([^)\s#]+)[^)\s]*\)")
NAMED = re.compile(r"(?<![\w./<-])(?:%s)/[\w./-]*\w" % "|".join(FOLDERS + ("scripts", "docs", "demo", r"\.ci")))
CODE = re.compile(r"`([^`]+)`")


def broken_links(root, name, line):
    for target in LINK.findall(line):
        if "://" not in target and not target.startswith("mailto:") and not (root / name).parent.joinpath(target).exists():
            yield f"link to {target}, which does not exist"


def missing_files(root, line, fenced):
    spans = [line] if fenced else CODE.findall(line)
    for span in spans:
        for path in NAMED.findall(span):
            wildcard = re.search(re.escape(path) + r"[*<{A-Z_]|NAME", span)
            # A name without an ending stands for the pair of header and source.
            if not wildcard and not (root / path).exists() and not (root / f"{path}.h").exists():
                yield f"{path} does not exist"


def check(root):
    for name in list_files(root):
        if not name.endswith(".md"):
            continue
        fenced = False
        for number, line in enumerate((root / name).read_text(encoding="utf-8").split("\n"), 1):
            fenced ^= line.startswith("```")
            for message in [*broken_links(root, name, line), *missing_files(root, line, fenced)]:
                yield f"{name}:{number}: {message}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    root = parser.parse_args().root.resolve()
    broken = list(check(root))
    documents = sum(name.endswith(".md") for name in list_files(root))
    print("\n".join([*broken, f"docs: {documents} documents, {len(broken)} broken references"]))
    return 1 if broken or not documents else 0


if __name__ == "__main__":
    sys.exit(main())
