"""sluice probe: the drive, memory and cores, and what they buy."""

import json
import os
import unittest
from pathlib import Path

from sluice_cli import DEMO, CliTest, has_uring

QUICK = ("--seconds", "1")


class ProbeTest(CliTest):
    def setUp(self):
        super().setUp()
        self.env = {**os.environ, "XDG_CACHE_HOME": str(self.folder / "cache")}

    def probe(self, *arguments):
        return self.succeed("probe", *arguments, *QUICK, "--json", env=self.env).json()

    def plan_of(self, env):
        """What a run says of its memory and reads."""
        return self.succeed("run", "-m", DEMO, "-p", "a", "-n", "1", "--progress", "always", env=env).err

    def check(self, found):
        rates = [cell["gbps"] for cell in found["grid"]]
        self.assertAlmostEqual(max(rates), found["best_gbps"])
        self.assertGreater(found["read_gbps"], 0)
        self.assertTrue(Path(found["kept_in"]).is_relative_to(self.folder / "cache" / "sluice"))
        self.assertTrue(Path(found["kept_in"]).is_file())
        chosen = (found["chunk_bytes"], found["depth"])
        self.assertIn(chosen, [(cell["block_bytes"], cell["depth"]) for cell in found["grid"]])
        self.assertGreater(found["memory_gbps"], 0)
        self.assertGreater(found["kernel_gbps"], 0)
        self.assertEqual(found["uring"], has_uring())
        self.assertTrue(all(cell["reads"] > 0 for cell in found["grid"]))

    def test_a_model_is_probed_in_place_and_budgets_are_priced(self):
        found = self.probe(DEMO, "--ram", "1M,64M,8G")
        self.check(found)
        below, tight, roomy = found["estimates"]
        self.assertFalse(below["runs"])
        self.assertEqual(below["limit"], "floor")
        self.assertTrue(tight["runs"])
        self.assertGreater(roomy["tokens_per_minute"], 0)
        self.assertLessEqual(roomy["bytes_per_token"], tight["bytes_per_token"])

    def test_any_large_file_will_do(self):
        found = self.probe(self.write("file", bytes(3 << 20)), "--io", "pread")
        self.check(found)
        self.assertEqual(found["io"], "pread")
        self.assertEqual(found["estimates"], [])
        self.assertLessEqual(max(cell["block_bytes"] for cell in found["grid"]), 3 << 20)

    def test_a_run_reads_as_was_measured_and_says_so(self):
        self.assertRegex(self.plan_of(self.env), r"reads +4096 KiB x 4 in flight \(the default\)")
        found = self.probe(DEMO)
        kept = Path(found["kept_in"])
        kept.write_text(json.dumps({**json.loads(kept.read_text()), "chunk_bytes": 256 << 10, "depth": 8}))
        self.assertRegex(self.plan_of(self.env), r"reads +256 KiB x 8 in flight \(measured earlier\)")
        kept.write_text("{")
        self.assertRegex(self.plan_of(self.env), r"reads +4096 KiB x 4 in flight \(the default\)")

    def test_without_a_place_for_caches_nothing_is_kept_and_nothing_fails(self):
        homeless = {key: value for key, value in self.env.items() if key not in ("HOME", "XDG_CACHE_HOME")}
        blocked = {**self.env, "XDG_CACHE_HOME": str(self.write("file", "x"))}
        for env in (homeless, blocked, {**homeless, "XDG_CACHE_HOME": "relative"}):
            found = self.succeed("probe", DEMO, *QUICK, "--json", env=env).json()
            self.assertEqual(found["kept_in"], "")
            self.assertIn("the default", self.plan_of(env))
        found = self.succeed("probe", DEMO, *QUICK, "--json", env={**homeless, "HOME": str(self.folder)}).json()
        self.assertTrue(Path(found["kept_in"]).is_relative_to(self.folder / ".cache" / "sluice"))

    def test_text_names_the_choice(self):
        text = self.succeed("probe", DEMO, *QUICK, env=self.env).out
        self.assertRegex(text, r"chosen: \d+ KiB at depth \d+, [\d.]+ GB/s")
        self.assertIn("tokens/min", text)

    def test_what_cannot_be_probed_is_refused(self):
        self.fail_with(1, "none", "probe", self.folder / "none")
        self.fail_with(2, "too small", "probe", self.write("small", "x"))
        self.fail_with(2, "neither", "probe", "/dev/null")
        self.fail_with(2, "--ram", "probe", DEMO, "--ram", "much")


if __name__ == "__main__":
    unittest.main()
