"""sluice perplexity: the right windows, the right number, whatever the budget."""

import json
import math
import unittest

from gguf_writer import write_model
from sluice_cli import DEMO, SANITIZED, CliTest, floats, shared

STORY = (
    "Once upon a time there was a King who had three sons, and the youngest of them was called Jack. One day the King "
    "fell ill, and no doctor in the whole country could make him well again. "
) * 4


class PerplexityTest(CliTest):
    def score(self, text, *options, model=DEMO):
        return self.succeed("perplexity", "-m", model, "-f", self.write("text", text), *options).json()

    def ids(self, text, model=DEMO):
        path = self.write("ids.txt", text)
        return self.succeed("tokenize", "-m", model, "-f", path, "--parse-special", "none").json()["ids"]

    def test_the_fields_of_the_result(self):
        result = self.score(STORY, "--ctx", "32")
        self.assertEqual(list(result), ["tokens", "windows", "nll", "perplexity", "stats"])
        self.assertAlmostEqual(result["perplexity"], math.exp(result["nll"]), places=6)
        self.assertGreater(result["nll"], 1)
        self.assertLess(result["nll"], 6)
        self.check_stats(result["stats"])

    def test_windows_are_whole_and_begin_with_bos(self):
        count = len(self.ids(STORY))
        for context in (16, 33):
            result = self.score(STORY, "--ctx", context)
            self.assertEqual(result["windows"], count // (context - 1))
            self.assertEqual(result["tokens"], result["windows"] * (context - 1))
            self.assertEqual(result["stats"]["prompt_tokens"], result["windows"] * context)

    def test_the_number_is_that_of_the_logits(self):
        length = 31
        ids = self.ids(STORY)[: 2 * length]
        windows = [[0, *ids[:length]], [0, *ids[length:]]]
        output = self.folder / "out.f32"
        tokens = self.token_file(windows)
        self.succeed("logits", "-m", DEMO, "--tokens-file", tokens, "-o", output, "--all-positions")
        values = floats(output)
        total = 0.0
        for number, window in enumerate(windows):
            for position in range(length):
                start = (number * (length + 1) + position) * 4096
                row = values[start : start + 4096]
                top = max(row)
                total += math.log(sum(math.exp(value - top) for value in row)) + top - row[window[position + 1]]
        prefix = self.succeed("detokenize", "-m", DEMO, "--tokens", ",".join(map(str, ids))).json()["text"]
        result = self.score(prefix, "--ctx", length + 1)
        self.assertEqual((result["windows"], result["tokens"]), (2, 2 * length))
        self.assertAlmostEqual(result["nll"], total / (2 * length), places=5)

    def test_conditions_do_not_change_the_number(self):
        expected = self.score(STORY, "--ctx", "32")["nll"]
        text = self.write("text", STORY)
        floor = self.floor_of("perplexity", "-m", DEMO, "-f", text, "--ctx", "32", "--threads", "1")
        for options in (("--ram", floor, "--threads", "1"), ("--prompt-chunk", "5"), ("--threads", "2", "--io", "pread")):
            self.assertEqual(self.score(STORY, "--ctx", "32", *options)["nll"], expected, options)

    def test_special_tokens_in_the_text_are_just_text(self):
        special = self.succeed("detokenize", "-m", DEMO, "--tokens", "0").json()["text"]
        result = self.score(special * 20, "--ctx", "16")
        self.assertEqual(result["windows"], len(self.ids(special * 20)) // 15)
        self.assertGreater(result["windows"], 2)

    def test_a_model_that_adds_no_bos_scores_all_but_the_first_token_of_a_window(self):
        model = write_model(self.folder / "m.gguf", keys={"tokenizer.ggml.add_bos_token": False})
        result = self.score("the cat sat on the mat " * 8, "--ctx", "16", model=model)
        self.assertEqual(result["tokens"], result["windows"] * 14)

    def test_a_text_shorter_than_a_window_is_refused(self):
        self.fail_with(2, "fewer than one window of 511", "perplexity", "-m", DEMO, "-f", self.write("text", "Once"))
        self.fail_with(2, "fewer than one window", "perplexity", "-m", DEMO, "-f", self.write("text", ""))

    def test_the_text_comes_from_standard_input_too(self):
        result = self.succeed("perplexity", "-m", DEMO, "-f", "-", "--ctx", "32", stdin=STORY.encode()).json()
        self.assertEqual(result["nll"], self.score(STORY, "--ctx", "32")["nll"])

    @unittest.skipIf(SANITIZED, "SKIP: takes minutes under a sanitizer")
    def test_the_whole_held_out_text_scores_as_an_independent_implementation_says(self):
        expected = json.loads(shared("demo/expected.json").read_text(encoding="utf-8"))
        text, model = shared("demo/valid.txt"), shared("demo/storyteller-f16.gguf")
        run = ("perplexity", "-m", model, "-f", text, "--ctx", expected["ctx"])
        for compute, tolerance in (("float", 1e-3), ("fast", 5e-3)):
            result = self.succeed(*run, "--compute", compute).json()
            self.assertEqual((result["windows"], result["tokens"]), (expected["windows"], expected["tokens_scored"]))
            self.assertAlmostEqual(result["nll"], expected["nll"], delta=tolerance)


if __name__ == "__main__":
    unittest.main()
