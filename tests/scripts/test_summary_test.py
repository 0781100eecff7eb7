"""scripts/test_summary.py counts what a test log holds and never calls an empty run a success."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "test_summary.py"


def doctest_output(passed, failed, skips=()):
    blocks = "".join(f"{'=' * 79}\na_test.cc:{line}:\nTEST CASE:  c\n\na_test.cc:9: MESSAGE: SKIP: {why}\n\n" for line, why in skips)
    return blocks + f"[doctest] test cases: {passed + failed} | {passed} passed | {failed} failed | 0 skipped\n"


def summary(*records):
    """Returns (exit status, lines) for a log of these records; a string stands for a raw line."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "testlog.json"
        log.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records), encoding="utf-8")
        done = subprocess.run([sys.executable, SCRIPT, log], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


class SummaryTest(unittest.TestCase):
    def test_cases_of_all_programs_are_added(self):
        status, lines = summary(
            {"name": "a", "result": "OK", "stdout": doctest_output(5, 0)},
            {"name": "b", "result": "OK", "stderr": "Ran 7 tests in 0.1s\n\nOK (skipped=2)\n"},
            {"name": "c", "result": "OK"},
        )
        self.assertEqual((status, lines[-1]), (0, "11 passed, 0 failed, 2 skipped"))

    def test_a_failing_case_fails_the_run(self):
        status, lines = summary({"name": "a", "result": "FAIL", "returncode": 1, "stdout": doctest_output(5, 2)})
        self.assertEqual((status, lines[-1]), (1, "5 passed, 2 failed, 0 skipped"))
        self.assertIn("a: FAIL, exit status 1", lines)

    def test_a_program_that_fails_after_its_cases_passed_still_fails(self):
        status, lines = summary({"name": "a", "result": "FAIL", "returncode": 66, "stdout": doctest_output(5, 0)})
        self.assertEqual((status, lines[-1]), (1, "5 passed, 1 failed, 0 skipped"))

    def test_crashes_timeouts_and_unknown_results_fail(self):
        for result in ["ERROR", "TIMEOUT", "INTERRUPT", "UNEXPECTEDPASS", "anything"]:
            with self.subTest(result=result):
                status, lines = summary({"name": "a", "result": "OK"}, {"name": "b", "result": result})
                self.assertEqual((status, lines[-1]), (1, "1 passed, 1 failed, 0 skipped"))

    def test_a_case_that_says_skip_is_counted_once_and_shown(self):
        output = doctest_output(5, 0, [(3, "no data x"), (8, "no data y"), (8, "no data z")])
        status, lines = summary({"name": "a", "result": "OK", "stdout": output})
        self.assertEqual((status, lines[-1]), (0, "3 passed, 0 failed, 2 skipped"))
        self.assertIn("a: SKIP: no data x", lines)

    def test_a_run_without_tests_is_a_failure(self):
        for records in [(), ({"name": "a", "result": "SKIP"},)]:
            status, lines = summary(*records)
            self.assertEqual(status, 1)
            self.assertIn("no test ran", lines)

    def test_a_torn_line_is_a_failure(self):
        status, lines = summary({"name": "a", "result": "OK"}, '{"name": "b", "resu')
        self.assertEqual((status, lines[-1]), (1, "1 passed, 1 failed, 0 skipped"))

    def test_a_missing_log_is_a_failure(self):
        done = subprocess.run([sys.executable, SCRIPT, "absent.json"], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout.splitlines()[-1]), (1, "0 passed, 0 failed, 0 skipped"))


if __name__ == "__main__":
    unittest.main()
