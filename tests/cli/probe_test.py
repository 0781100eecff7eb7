"""sluice probe: the drive, memory and cores, and what they buy."""

import unittest

from sluice_cli import DEMO, CliTest, has_uring

QUICK = ("--seconds", "1")


class ProbeTest(CliTest):
    def probe(self, *arguments):
        return self.succeed("probe", *arguments, *QUICK, "--json").json()

    def check(self, found):
        rates = [cell["gbps"] for cell in found["grid"]]
        self.assertAlmostEqual(max(rates), found["best_gbps"])
        self.assertGreaterEqual(found["read_gbps"], 0.97 * found["best_gbps"])
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

    def test_text_names_the_choice(self):
        text = self.succeed("probe", DEMO, *QUICK).out
        self.assertRegex(text, r"chosen: \d+ KiB at depth \d+, [\d.]+ GB/s")
        self.assertIn("tokens/min", text)

    def test_what_cannot_be_probed_is_refused(self):
        self.fail_with(1, "none", "probe", self.folder / "none")
        self.fail_with(2, "too small", "probe", self.write("small", "x"))
        self.fail_with(2, "neither", "probe", "/dev/null")
        self.fail_with(2, "--ram", "probe", DEMO, "--ram", "much")


if __name__ == "__main__":
    unittest.main()
