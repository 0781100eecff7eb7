"""scripts/golden passes an engine that is right and fails one that is wrong, each limit by itself."""

import array
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "golden"
VOCAB, STEPS = 8, 6
PROMPTS = [[1], [2, 3], [4, 5, 6], [1, 2, 3, 4]]


def logits(tokens):
    """A stand-in for a model: the logits after these tokens."""
    state, row = 17, []
    for token in tokens:
        state = (state * 1103515245 + token + 12345) % (1 << 31)
    for _ in range(VOCAB):
        state = (state * 1103515245 + 12345) % (1 << 31)
        row.append((state >> 16) % 4096 / 1024)
    return row


def argmax(row):
    return max(range(len(row)), key=row.__getitem__)


def continuation(tokens, count):
    out = []
    for _ in range(count):
        out.append(argmax(logits(tokens + out)))
    return out


def margin(row):
    ordered = sorted(row)
    return ordered[-1] - ordered[-2]


def write_rows(path, rows, header=b""):
    flat = array.array("f", [value for row in rows for value in row])
    path.write_bytes(header + flat.tobytes())


def make_shared(root, tolerance):
    folder = root / "golden" / "tiny"
    folder.mkdir(parents=True)
    greedy = continuation(PROMPTS[2], STEPS)
    steps = [logits(PROMPTS[2] + greedy[:step]) for step in range(STEPS)]
    parts = {
        "last": [logits(prompt) for prompt in PROMPTS],
        "all": [logits(PROMPTS[3][: end + 1]) for end in range(len(PROMPTS[3]))],
        "greedy": steps,
    }
    for part, rows in parts.items():
        write_rows(folder / f"model.{part}.npy", rows, b"\0" * 128)
    expected = {"model": "model.gguf", "arch": "deepseek2", "vocab": VOCAB, "greedy_tokens": greedy}
    expected |= {"greedy_margins": [margin(row) for row in steps], "tolerance": tolerance}
    expected["noise"] = {"torch_kv16_vs_ref": {"max_abs": 0.01}, "float32_vs_float64": {"max_abs": 1e-5}}
    (folder / "model.expected.json").write_text(json.dumps(expected), encoding="utf-8")
    prompts = {"prompts": PROMPTS, "all_positions_prompt": 3, "greedy_prompt": 2}
    (folder / "prompts.json").write_text(json.dumps(prompts), encoding="utf-8")


def fake_engine(faults, words):
    """Answers like the program, with the faults of a dictionary."""
    option = {word: words[at + 1] for at, word in enumerate(words[:-1]) if word.startswith("-")}
    if faults.get("status"):
        print("sluice: a reason", file=sys.stderr)
        return faults["status"]
    if words[0] == "run":
        ids = continuation(json.loads(f"[{option['--tokens']}]"), int(option["-n"]))
        if "free_step" in faults:
            ids[faults["free_step"]] = (ids[faults["free_step"]] + 1) % VOCAB
        print(json.dumps({"ids": ids[: len(ids) - faults.get("missing", 0)]}))
        return 0
    prompts = json.loads(Path(option["--tokens-file"]).read_text(encoding="utf-8"))
    whole = "--all-positions" in words
    rows = [logits(p[: end + 1]) for p in prompts for end in (range(len(p)) if whole else [len(p) - 1])]
    rows = [[value + faults.get("shift", 0) * (at % 2) for at, value in enumerate(row)] for row in rows]
    if "outlier" in faults:
        rows[0][0] += faults["outlier"]
    rows = rows[: len(rows) - faults.get("rows_missing", 0)]
    write_rows(Path(option["-o"]), rows)
    print(json.dumps({"rows": len(rows) + faults.get("lie", 0), "vocab": VOCAB}))
    return 0


FLOAT_LIMITS = {"float_engine": {"max_abs": 1e-3, "kl_max": 1e-6, "top1_agreement": 1.0}}
HALF_LIMITS = {"f16_kv_engine": {"median_row_max_abs": 0.02, "kl_mean": 0.002, "top1_agreement": 0.98}}


def golden(faults, *options, arch="deepseek2", tolerance=None):
    """Runs the script against the fake engine; returns (exit status, output)."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_shared(root, tolerance or FLOAT_LIMITS | HALF_LIMITS)
        engine = root / "engine"
        engine.write_text(
            f"#!{sys.executable}\nimport json, sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nimport golden_test\n"
            f"sys.exit(golden_test.fake_engine(json.loads({json.dumps(faults)!r}), sys.argv[1:]))\n",
            encoding="utf-8",
        )
        engine.chmod(0o755)
        command = [sys.executable, SCRIPT, engine, root, "--arch", arch, "--only", "tiny", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        return done.returncode, done.stdout + done.stderr


class GoldenTest(unittest.TestCase):
    def expect_failure(self, needle, faults, *options):
        status, output = golden(faults, *options)
        self.assertEqual(status, 1, output)
        self.assertIn(needle, output)

    def test_a_right_engine_passes_both_paths(self):
        status, output = golden({})
        self.assertEqual(status, 0, output)
        self.assertIn("golden: 2 passed, 0 failed, 0 skipped", output)
        self.assertIn(f"greedy {STEPS}/{STEPS}", output)

    def test_limits_follow_the_compute_path(self):
        self.expect_failure("max_abs", {"shift": 0.005}, "--compute", "float")
        self.assertEqual(golden({"shift": 0.005}, "--compute", "fast")[0], 0)
        self.expect_failure("median_row_max_abs", {"shift": 0.05}, "--compute", "fast")

    def test_a_single_wrong_logit_breaks_the_float_path(self):
        self.expect_failure("max_abs", {"outlier": 0.01}, "--compute", "float")

    def test_a_logit_that_is_no_number_fails(self):
        self.expect_failure("not finite", {"outlier": float("inf")}, "--compute", "fast")

    def test_missing_rows_and_a_wrong_report_fail(self):
        self.expect_failure("rows", {"rows_missing": 1})
        self.expect_failure("the JSON line says", {"lie": 1})

    def test_a_continuation_that_leaves_the_reference_fails(self):
        self.expect_failure("token by token: step 3", {"free_step": 3})
        self.expect_failure("tokens instead of", {"missing": 1})

    def test_an_engine_that_stops_fails(self):
        self.expect_failure("exit status 1", {"status": 1})

    def test_other_families_are_skipped_and_a_run_of_skips_is_no_success(self):
        status, output = golden({}, arch="glm4moe")
        self.assertEqual(status, 1)
        self.assertIn("golden: 0 passed, 0 failed, 2 skipped", output)


if __name__ == "__main__":
    unittest.main()
