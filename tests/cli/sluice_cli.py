"""What the tests of the command line share: running the program, its output taken apart, the models at hand.

Every test file is a program; meson gives it SLUICE_BINARY and SLUICE_SHARED in the environment. Options go before the
command line's own defaults: a test that says nothing about progress gets none.
"""

import array
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

BINARY = os.environ.get("SLUICE_BINARY", "")
SHARED = Path(os.environ.get("SLUICE_SHARED", "/nonexistent"))
# Sanitizers take memory and time that no plan knows of.
SANITIZED = os.environ.get("SLUICE_SANITIZED", "") == "yes"
DEMO = Path(__file__).resolve().parents[2] / "demo" / "storyteller-q4_k_m.gguf"
TIMEOUT_S = 600
MIB = 1 << 20

STATS_FIELDS = """
model arch ram_budget_bytes peak_rss_bytes threads io direct_io prompt_tokens prompt_tokens_reused prompt_seconds
generated_tokens generate_seconds tokens_per_minute time_to_first_token_seconds bytes_read bytes_written
bytes_read_prompt bytes_read_generate read_seconds_busy read_gbps device_busy_fraction device_unasked_seconds
device_busy_of_asked_fraction expert_lookups expert_hits expert_prefetched_used expert_prefetched_wasted pool_slots
pool_bytes trunk_pinned_bytes trunk_streamed_bytes kv_bytes compute_seconds stall_seconds""".split()


class Result:
    def __init__(self, status, out, err):
        self.status, self.out_bytes = status, out
        self.out, self.err = out.decode("utf-8", "replace"), err.decode("utf-8", "replace")

    def json(self):
        """The one JSON object that stdout is."""
        return json.loads(self.out)

    def stats(self):
        """The object on the last line of stderr."""
        return json.loads(self.err.splitlines()[-1])


def sluice(*arguments, stdin=b"", env=None):
    command = [BINARY, *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=TIMEOUT_S, env=env)
    return Result(done.returncode, done.stdout, done.stderr)


def shared(relative):
    """The path of reference data, or the end of this test."""
    path = SHARED / relative
    if not path.exists():
        reason = f"SKIP: reference data {relative} is not present"
        print(reason)
        raise unittest.SkipTest(reason)
    return path


def skip_under_sanitizers():
    if SANITIZED:
        print("SKIP: memory under a sanitizer says nothing")
        raise unittest.SkipTest("memory under a sanitizer says nothing")


class CliTest(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def start(self, *arguments, **options):
        """The program under way; it ends with the test."""
        # Unbuffered: what is not read here is left for communicate().
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "bufsize": 0}
        process = subprocess.Popen([BINARY, *map(str, arguments)], **{**pipes, **options})
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                pipe.close()

    def succeed(self, *arguments, **options):
        result = sluice(*arguments, **options)
        self.assertEqual(result.status, 0, f"{arguments}: {result.err}")
        return result

    def fail_with(self, status, needle, *arguments, **options):
        """The command ends with `status`, one line on stderr that holds `needle`, and nothing on stdout."""
        result = sluice(*arguments, **options)
        self.assertEqual(result.status, status, f"{arguments}: {result.out}{result.err}")
        self.assertRegex(result.err, r"\Asluice: [^\n]+\n\Z")
        self.assertNotRegex(result.err, r"[\x00-\x09\x0b-\x1f]")
        self.assertIn(needle, result.err)
        self.assertEqual(result.out, "", arguments)
        return result

    def write(self, name, content):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def token_file(self, lists, name="tokens.json"):
        return self.write(name, json.dumps(lists))

    def demo_ids(self, text):
        return self.succeed("tokenize", "-m", DEMO, "-p", text, "--bos").json()["ids"]

    def floor_of(self, *arguments):
        """The floor in bytes that a refusal names."""
        result = self.fail_with(1, "floor", *arguments, "--ram", "1M")
        return int(re.search(r"the floor of (\d+) bytes", result.err).group(1))

    def check_stats(self, stats):
        """All fields of the contract, and what must hold between them."""
        self.assertEqual([field for field in STATS_FIELDS if field not in stats], [])
        for field in STATS_FIELDS:
            if field not in ("model", "arch", "io", "direct_io"):
                self.assertGreaterEqual(stats[field], 0, field)
        self.assertEqual(stats["bytes_read"], stats["bytes_read_prompt"] + stats["bytes_read_generate"])
        self.assertLessEqual(stats["expert_hits"], stats["expert_lookups"])
        self.assertLessEqual(stats["device_busy_fraction"], 1.0)
        self.assertLessEqual(stats["device_busy_of_asked_fraction"], 1.0)
        self.assertLessEqual(stats["device_unasked_seconds"], stats["generate_seconds"])
        if not SANITIZED:
            self.assertLessEqual(stats["peak_rss_bytes"], stats["ram_budget_bytes"])
        self.assertLessEqual(stats["pool_bytes"] + stats["trunk_pinned_bytes"], stats["ram_budget_bytes"])
        steps, seconds = max(0, stats["generated_tokens"] - 1), stats["generate_seconds"]
        expected = 60 * steps / seconds if steps else 0
        self.assertAlmostEqual(stats["tokens_per_minute"], expected, delta=1e-6 * expected)
        if seconds:
            gbps = stats["bytes_read_generate"] / seconds / 1e9
            self.assertAlmostEqual(stats["read_gbps"], gbps, delta=1e-6 * gbps)


def floats(path):
    values = array.array("f")
    values.frombytes(Path(path).read_bytes())
    if sys.byteorder == "big":
        values.byteswap()
    return values


def has_uring():
    return sluice("run", "-m", DEMO, "-p", "a", "-n", "0", "--quiet", "--io", "uring").status == 0


def io_backends(*also):
    return ["pread", *(["uring"] if has_uring() else []), *also]
