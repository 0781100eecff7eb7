"""sluice logits: right shapes, and the same bits whatever the conditions."""

import itertools
import math
import unittest

from gguf_writer import write_model
from sluice_cli import DEMO, MIB, CliTest, floats, io_backends

VOCAB = 4096
PROMPTS = [[0, 329, 677, 335, 761, 46, 485, 260], [0, 1713], [2093] * 40, [0, 348, 519, 324, 814]]
COMPANIONS = [[1, 2, 3, 4, 5, 6, 7], [0, 2659, 280, 327, 660, 319, 327, 594]]


class LogitsTest(CliTest):
    def logits(self, prompts, *options, model=DEMO):
        """The bytes of the rows, and the JSON line."""
        output = self.folder / "out.f32"
        tokens = self.token_file(prompts)
        line = self.succeed("logits", "-m", model, "--tokens-file", tokens, "-o", output, *options).json()
        return output.read_bytes(), line

    def row(self, data, index):
        return data[index * VOCAB * 4 : (index + 1) * VOCAB * 4]

    def test_there_is_a_finite_row_for_each_prompt(self):
        data, line = self.logits(PROMPTS)
        self.assertEqual((line["rows"], line["vocab"]), (len(PROMPTS), VOCAB))
        self.assertEqual(len(data), len(PROMPTS) * VOCAB * 4)
        values = floats(self.folder / "out.f32")
        self.assertTrue(all(map(math.isfinite, values)))
        self.assertGreater(max(values) - min(values), 1)
        self.check_stats(line["stats"])
        self.assertEqual(line["stats"]["prompt_tokens"], sum(map(len, PROMPTS)))

    def test_the_last_of_all_positions_is_the_last_position(self):
        last, _ = self.logits(PROMPTS)
        everything, line = self.logits(PROMPTS, "--all-positions")
        self.assertEqual(line["rows"], sum(map(len, PROMPTS)))
        self.assertEqual(len(everything), line["rows"] * VOCAB * 4)
        for index, end in enumerate(itertools.accumulate(map(len, PROMPTS))):
            self.assertEqual(self.row(everything, end - 1), self.row(last, index), index)

    def test_rows_come_in_the_order_of_the_prompts(self):
        last, _ = self.logits(PROMPTS)
        turned, _ = self.logits(PROMPTS[::-1])
        for index in range(len(PROMPTS)):
            self.assertEqual(self.row(turned, len(PROMPTS) - 1 - index), self.row(last, index))
        self.assertEqual(len({self.row(last, index) for index in range(len(PROMPTS))}), len(PROMPTS))

    def test_company_changes_no_bit(self):
        together, _ = self.logits(PROMPTS)
        alone = b"".join(self.logits([prompt])[0] for prompt in PROMPTS)
        self.assertEqual(alone, together)
        company = self.token_file(COMPANIONS, "company.json")
        accompanied, line = self.logits(PROMPTS, "--batch-with", company)
        self.assertEqual(accompanied, together)
        self.assertEqual(line["rows"], len(PROMPTS))
        self.assertEqual(line["stats"]["prompt_tokens"], sum(map(len, PROMPTS + COMPANIONS)))

    def test_more_prompts_than_share_a_sweep_are_all_computed(self):
        prompts = [[0, 300 + index] for index in range(21)]
        data, line = self.logits(prompts)
        self.assertEqual(line["rows"], 21)
        self.assertEqual(self.row(data, 20), self.logits(prompts[20:])[0])

    def test_the_size_of_prompt_chunks_changes_no_bit(self):
        expected, whole = self.logits(PROMPTS, "--all-positions")
        for chunk in ("1", "7", "64"):
            data, line = self.logits(PROMPTS, "--all-positions", "--prompt-chunk", chunk)
            self.assertEqual(data, expected, chunk)
            if chunk == "1":
                self.assertGreater(line["stats"]["expert_lookups"], whole["stats"]["expert_lookups"])

    def test_memory_threads_and_the_way_of_reading_change_no_bit(self):
        expected, large = self.logits(PROMPTS, "--all-positions", "--ram", "1G")
        tokens = self.token_file(PROMPTS)
        command = ("logits", "-m", DEMO, "--tokens-file", tokens, "-o", self.folder / "out.f32", "--all-positions")
        for io, threads in itertools.product(io_backends(), ("1", "2")):
            conditions = ("--io", io, "--threads", threads)
            floor = self.floor_of(*command, *conditions)
            data, line = self.logits(PROMPTS, "--all-positions", *conditions, "--ram", floor)
            self.assertEqual(data, expected, conditions)
            self.assertLess(line["stats"]["pool_slots"], large["stats"]["pool_slots"] // 4)
            self.assertGreater(line["stats"]["bytes_read"], large["stats"]["bytes_read"])
            self.assertEqual(self.logits(PROMPTS, "--all-positions", *conditions)[0], expected, conditions)
        self.assertEqual(self.logits(PROMPTS, "--all-positions", "--io", "mmap")[0], expected)

    def test_the_float_path_and_the_fast_one_are_close_and_not_the_same(self):
        fast, _ = self.logits(PROMPTS[:1])
        fast_values = floats(self.folder / "out.f32")
        slow, _ = self.logits(PROMPTS[:1], "--compute", "float")
        slow_values = floats(self.folder / "out.f32")
        self.assertNotEqual(fast, slow)
        self.assertLess(max(abs(a - b) for a, b in zip(fast_values, slow_values)), 1.0)

    def test_a_context_may_be_asked_for(self):
        expected, _ = self.logits(PROMPTS[:1])
        data, line = self.logits(PROMPTS[:1], "--ctx", "100")
        self.assertEqual(data, expected)
        self.assertEqual(line["stats"]["kv_bytes"], 128 * 5 * 80 * 2)  # whole blocks of 32 tokens
        tokens = self.token_file(PROMPTS)
        self.fail_with(2, "40 tokens", "logits", "-m", DEMO, "--tokens-file", tokens, "-o", "/dev/null", "--ctx", "39")

    def test_no_prompts_give_no_rows(self):
        data, line = self.logits([])
        self.assertEqual((data, line["rows"]), (b"", 0))

    def test_a_tight_budget_takes_fewer_prompts_at_once(self):
        model = write_model(self.folder / "m.gguf", context=4096)
        prompts = [[2] * 2000] * 8
        one, _ = self.logits(prompts[:1], model=model)
        tokens = self.token_file(prompts)
        command = ("logits", "-m", model, "--tokens-file", tokens, "-o", self.folder / "out.f32")
        floor = self.floor_of(*command)
        wide = self.logits(prompts, "--ram", "1G", model=model)[1]["stats"]
        data, line = self.logits(prompts, "--ram", floor + MIB // 4, model=model)
        self.assertEqual(data, one * 8)
        self.assertLess(line["stats"]["kv_bytes"], wide["kv_bytes"])


if __name__ == "__main__":
    unittest.main()
