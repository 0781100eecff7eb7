"""The ceiling of --ram: at the floor everything runs and the peak of the process stays within; below it is refused."""

import re
import unittest

from gguf_writer import TYPE_Q8_0, write_model
from sluice_cli import DEMO, MIB, CliTest, io_backends, shared, skip_under_sanitizers

PROMPT = "Once upon a time there was"
RUN = ("run", "-m", DEMO, "-p", PROMPT, "--temp", "0", "--ignore-eos", "--quiet", "--stats", "json")


class BudgetTest(CliTest):
    def setUp(self):
        skip_under_sanitizers()
        super().setUp()

    def at_the_floor(self, *command):
        """The statistics of a run with exactly the floor, and the floor."""
        floor = self.floor_of(*command)
        result = self.succeed(*command, "--ram", floor)
        stats = result.json()["stats"] if command[0] != "run" else result.stats()
        self.check_stats(stats)
        self.assertEqual(stats["ram_budget_bytes"], floor)
        self.assertLessEqual(stats["peak_rss_bytes"], floor, command)
        return stats, floor

    def refused_below(self, floor, *command):
        result = self.fail_with(1, f"the floor of {floor} bytes", *command, "--ram", floor - MIB)
        rounded = -(-floor // MIB)
        self.assertIn(f"--ram {rounded}M", result.err)
        self.fail_with(1, f"the floor of {floor} bytes", *command, "--ram", floor - 1)
        self.succeed(*command, "--ram", f"{rounded}M")

    def test_a_story_is_told_at_the_floor_with_experts_streaming(self):
        command = (*RUN, "-n", "40")
        stats, floor = self.at_the_floor(*command)
        self.assertEqual(stats["generated_tokens"], 40)
        # Not vacuous: the pool holds a few of the 128 experts, so tokens read.
        self.assertLess(stats["pool_slots"], 16)
        self.assertGreater(stats["bytes_read_generate"], 39 * stats["pool_bytes"] / 4)
        self.assertGreater(stats["trunk_streamed_bytes"], 0)
        self.assertLess(floor, DEMO.stat().st_size)
        self.refused_below(floor, *command)

    def test_a_larger_budget_reads_less_and_keeps_its_ceiling(self):
        read = []
        _, floor = self.at_the_floor(*RUN, "-n", "24")
        for extra in (0, 1, 4, 12, 1000):
            stats = self.succeed(*RUN, "-n", "24", "--ram", floor + extra * MIB).stats()
            self.check_stats(stats)
            read.append(stats["bytes_read"])
        self.assertEqual(sorted(read, reverse=True), read)
        self.assertGreater(read[0], 2 * read[-1])

    def test_the_ceiling_holds_however_many_threads_and_however_it_reads(self):
        for io in io_backends():
            for threads in ("1", "2", "8", "32"):
                self.at_the_floor(*RUN, "-n", "8", "--io", io, "--threads", threads)
        self.at_the_floor(*RUN, "-n", "8", "--io", "mmap")
        self.at_the_floor(*RUN, "-n", "8", "--compute", "float")
        self.at_the_floor(*RUN, "-n", "8", "--kv", "q8_0", "--ctx", "512")

    def test_mapped_files_count_in_full(self):
        _, direct = self.at_the_floor(*RUN, "-n", "4")
        stats, mapped = self.at_the_floor(*RUN, "-n", "4", "--io", "mmap")
        self.assertGreater(mapped, DEMO.stat().st_size)
        self.assertGreater(mapped, direct)
        self.assertEqual(stats["pool_bytes"], 0)

    def test_the_cache_of_the_context_counts(self):
        small, large = (self.floor_of(*RUN, "--ctx", context) for context in ("64", "512"))
        row_bytes = 5 * 80 * 2
        self.assertAlmostEqual(large - small, 448 * row_bytes, delta=448 * row_bytes / 4)

    def test_logits_of_a_long_prompt_at_the_floor(self):
        tokens = self.token_file([[0, *range(300, 800)], [0, 5, 6]])
        command = ("logits", "-m", DEMO, "--tokens-file", tokens, "-o", self.folder / "out.f32")
        for options in ((), ("--all-positions",), ("--compute", "float")):
            stats, floor = self.at_the_floor(*command, *options)
            self.assertGreater(stats["bytes_read"], DEMO.stat().st_size)
        self.refused_below(floor, *command, "--compute", "float")

    def test_perplexity_at_the_floor(self):
        text = self.write("text", "There was once an old woman who lived in a little house by the sea. " * 60)
        command = ("perplexity", "-m", DEMO, "-f", text, "--ctx", "128")
        stats, floor = self.at_the_floor(*command)
        self.assertGreater(stats["bytes_read"], DEMO.stat().st_size)
        self.refused_below(floor, *command)

    def test_a_large_vocabulary_is_part_of_the_floor(self):
        small = write_model(self.folder / "small.gguf")
        large = write_model(self.folder / "large.gguf", pairs=128, expert_type=TYPE_Q8_0)
        options = ("-p", PROMPT, "-n", "4", "--quiet", "--stats", "json")
        _, small_floor = self.at_the_floor("run", "-m", small, *options)
        _, large_floor = self.at_the_floor("run", "-m", large, *options)
        self.assertGreater(large_floor, small_floor + MIB)

    def test_a_long_text_is_part_of_the_floor(self):
        model = write_model(self.folder / "m.gguf")
        words = "the rain in the dell fell on the hen and the elder "
        floors = []
        for times in (20, 320):
            text = self.write("text", words * times)
            _, floor = self.at_the_floor("perplexity", "-m", model, "-f", text, "--ctx", "64")
            floors.append(floor)
        self.assertGreater(floors[1] - floors[0], 5 * 300 * len(words))

    def test_many_records_are_part_of_the_floor(self):
        few = write_model(self.folder / "few.gguf", layers=2)
        many = write_model(self.folder / "many.gguf", layers=24, experts=64, expert_type=TYPE_Q8_0)
        options = ("-p", PROMPT, "-n", "4", "--quiet", "--stats", "json")
        _, few_floor = self.at_the_floor("run", "-m", few, *options)
        _, many_floor = self.at_the_floor("run", "-m", many, *options)
        self.assertGreater(many_floor, few_floor)

    def test_the_floor_is_tight(self):
        stats, floor = self.at_the_floor(*RUN, "-n", "8", "--threads", "2")
        self.assertGreater(stats["peak_rss_bytes"], floor - 6 * MIB)
        self.assertLess(floor, 16 * MIB)

    def test_the_golden_models_keep_the_ceiling(self):
        seen = 0
        for model in sorted(shared("golden").glob("deepseek2*/*.gguf")):
            if re.search(r"-0000[2-9]-of-", model.name):
                continue
            stats, _ = self.at_the_floor("run", "-m", model, "--tokens", "2,3,4", "-n", "6", "--quiet", "--stats", "json")
            self.assertGreater(stats["bytes_read"], 0)
            seen += 1
        self.assertGreater(seen, 8)

    def test_the_default_budget_is_less_than_what_the_machine_has(self):
        stats = self.succeed("run", "-m", DEMO, "-p", "a", "-n", "1", "--quiet", "--stats", "json").stats()
        self.check_stats(stats)
        self.assertGreater(stats["ram_budget_bytes"], stats["peak_rss_bytes"])


if __name__ == "__main__":
    unittest.main()
