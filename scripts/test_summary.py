#!/usr/bin/env python3
"""Counts the test cases of a `meson test` run and ends with one line: `N passed, N failed, N skipped`.

usage: test_summary.py BUILD/meson-logs/testlog.json

Doctest and unittest programs count by their cases, other programs as one case each. A doctest case that printed
`SKIP: reason` counts as skipped and its reason is shown. Exits 1 when a case failed or when none ran.
"""

import json
import re
import sys
from dataclasses import dataclass, field

PASSED_RESULTS, SKIPPED_RESULTS = {"OK", "EXPECTEDFAIL"}, {"SKIP"}


@dataclass
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    notes: list = field(default_factory=list)

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.notes += other.notes


def skipped_cases(output):
    """Reasons of the doctest cases that skipped themselves, by the place of the case."""
    reasons, case = {}, None
    lines = output.splitlines()
    for at, line in enumerate(lines):
        if line.startswith("TEST CASE:"):
            case = lines[at - 1]
        elif (found := re.search(r"MESSAGE:\s*(SKIP: .*)", line)) is not None:
            reasons.setdefault(case, found.group(1))
    return list(reasons.values())


def doctest_counts(output):
    """Counts of all doctest summaries in the output, or None when there is none."""
    totals = re.findall(r"\[doctest\] test cases:\s*\d+ \|\s*(\d+) passed \|\s*(\d+) failed \|\s*(\d+) skipped", output)
    if not totals:
        return None
    passed, failed, _ = (sum(int(row[column]) for row in totals) for column in range(3))
    reasons = skipped_cases(output)
    skipped = min(len(reasons), passed)
    return Counts(passed - skipped, failed, skipped, reasons)


def unittest_counts(output):
    ran = re.search(r"^Ran (\d+) tests? in", output, re.MULTILINE)
    if ran is None:
        return None
    tally = {key: int(value) for key, value in re.findall(r"(failures|errors|skipped)=(\d+)", output)}
    failed, skipped = tally.get("failures", 0) + tally.get("errors", 0), tally.get("skipped", 0)
    return Counts(max(0, int(ran.group(1)) - failed - skipped), failed, skipped)


def program_counts(record):
    """Counts of one line of meson's log."""
    name, result = record.get("name", "unnamed"), record.get("result", "missing")
    output = f"{record.get('stdout') or ''}\n{record.get('stderr') or ''}"
    counts = doctest_counts(output) or unittest_counts(output)
    if counts is None:
        counts = Counts(skipped=1, notes=["SKIP: the whole program"]) if result in SKIPPED_RESULTS else Counts()
        counts.passed = int(result in PASSED_RESULTS)
    counts.notes = [f"{name}: {note}" for note in counts.notes]
    if result not in PASSED_RESULTS | SKIPPED_RESULTS:
        counts.failed = max(counts.failed, 1)
        counts.notes.append(f"{name}: {result}, exit status {record.get('returncode')}")
    return counts


def summarise(lines):
    total = Counts()
    for line in lines:
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict):
            total.add(program_counts(record))
        else:
            total.add(Counts(failed=1, notes=["a line of the test log is not JSON"]))
    return total


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        with open(sys.argv[1], encoding="utf-8", errors="replace") as log:
            total = summarise(log)
    except OSError as error:
        total = Counts(notes=[f"no test log: {error}"])
    for note in total.notes:
        print(note)
    if total.passed + total.failed == 0:
        print("no test ran")
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
