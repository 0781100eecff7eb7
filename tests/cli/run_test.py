"""sluice run: prompts in, text out, the same for the same seed."""

import unittest

from gguf_writer import split_model, write_model
from sluice_cli import DEMO, CliTest, io_backends

PROMPT = "Once upon a time"
GREEDY = ("run", "-m", DEMO, "--temp", "0", "--quiet")


class RunTest(CliTest):
    def text(self, *options, prompt=("-p", PROMPT)):
        return self.succeed(*GREEDY, *prompt, *options).out

    def test_the_demonstration_model_goes_on_with_the_story(self):
        text = self.text("-n", "24")
        self.assertGreater(len(text.split()), 10)
        self.assertTrue(text.isascii(), text)
        self.assertTrue(text.endswith("\n"))

    def test_a_prompt_comes_from_the_command_line_a_file_or_standard_input(self):
        expected = self.text("-n", "8")
        self.assertEqual(self.text("-n", "8", prompt=("-f", self.write("prompt.txt", PROMPT))), expected)
        from_stdin = self.succeed(*GREEDY, "-f", "-", "-n", "8", stdin=PROMPT.encode())
        self.assertEqual(from_stdin.out, expected)
        ids = ",".join(map(str, self.demo_ids(PROMPT)))
        self.assertEqual(self.text("-n", "8", prompt=("--tokens", ids)), expected)

    def test_without_a_template_raw_changes_nothing(self):
        self.assertEqual(self.text("-n", "8", "--raw"), self.text("-n", "8"))

    def test_a_prompt_may_look_like_an_option_or_be_no_text_at_all(self):
        for prompt in ("-x --ram", "[1,2]", "é\u0301 ☃"):
            self.succeed(*GREEDY, "-n", "1", "-p", prompt)
        self.succeed(*GREEDY, "-n", "1", "-f", self.write("bytes", b"\xff\xfe\x00\x80"))

    def test_the_number_of_tokens_is_what_is_asked_for(self):
        for count in (0, 1, 2, 7):
            result = self.succeed(*GREEDY, "-p", PROMPT, "-n", count, "--ignore-eos", "--print-ids", "--stats", "json")
            self.assertEqual(len(result.json()["ids"]), count)
            stats = result.stats()
            self.assertEqual(stats["generated_tokens"], count)
            self.assertEqual(stats["prompt_tokens"], len(self.demo_ids(PROMPT)))
            self.assertEqual(stats["tokens_per_minute"] > 0, count > 1)
            self.assertEqual(stats["time_to_first_token_seconds"] > 0, count > 0)

    def test_no_token_gives_an_empty_line(self):
        self.assertEqual(self.text("-n", "0"), "\n")

    def test_the_context_ends_a_generation(self):
        result = self.succeed(*GREEDY, "-p", PROMPT, "-n", "100", "--ctx", "16", "--ignore-eos", "--print-ids")
        self.assertEqual(len(result.json()["ids"]), 16 - len(self.demo_ids(PROMPT)))

    def test_ids_and_text_tell_the_same(self):
        ids = self.succeed(*GREEDY, "-p", PROMPT, "-n", "12", "--print-ids").json()["ids"]
        text = self.succeed("detokenize", "-m", DEMO, "--tokens", ",".join(map(str, ids))).json()["text"]
        self.assertEqual(self.text("-n", "12"), text + "\n")

    def test_greedy_text_is_the_same_whatever_the_seed(self):
        self.assertEqual(self.text("-n", "12", "--seed", "1"), self.text("-n", "12", "--seed", "2"))

    def test_a_seed_fixes_the_text_and_other_seeds_give_others(self):
        def sampled(*options):
            return self.succeed("run", "-m", DEMO, "-p", PROMPT, "-n", "16", "--quiet", "--temp", "1", *options).out

        texts = {seed: sampled("--seed", seed) for seed in ("1", "2", "3", "18446744073709551615")}
        self.assertEqual(len(set(texts.values())), len(texts))
        for seed, text in texts.items():
            self.assertEqual(sampled("--seed", seed), text)
        self.assertGreater(len({sampled() for _ in range(3)}), 1)

    def test_cutting_the_choice_to_one_token_is_greedy(self):
        expected = self.text("-n", "12")
        for cut in (("--top-k", "1"), ("--top-p", "0"), ("--min-p", "1")):
            self.assertEqual(self.succeed("run", "-m", DEMO, "-p", PROMPT, "-n", "12", "--quiet", *cut).out, expected)

    def test_conditions_do_not_change_the_text(self):
        expected = self.text("-n", "12")
        self.assertEqual(self.text("-n", "12", "--no-prefetch"), expected)
        for io in io_backends("mmap", "auto"):
            for threads in ("1", "2"):
                self.assertEqual(self.text("-n", "12", "--io", io, "--threads", threads), expected, (io, threads))

    def test_the_statistics_name_the_way_of_reading(self):
        for io in io_backends("mmap"):
            stats = self.succeed(*GREEDY, "-p", "a", "-n", "1", "--io", io, "--stats", "json").stats()
            self.assertEqual(stats["io"], io)
            self.check_stats(stats)

    def test_a_quantised_cache_and_the_float_path_tell_a_story_too(self):
        f16 = self.succeed(*GREEDY, "-p", PROMPT, "-n", "6", "--stats", "json").stats()
        q8 = self.succeed(*GREEDY, "-p", PROMPT, "-n", "6", "--kv", "q8_0", "--stats", "json")
        f32 = self.succeed(*GREEDY, "-p", PROMPT, "-n", "6", "--compute", "float", "--stats", "json")
        self.assertLess(q8.stats()["kv_bytes"], f16["kv_bytes"])
        self.assertEqual(f32.stats()["kv_bytes"], 2 * f16["kv_bytes"])
        for result in (q8, f32):
            self.assertTrue(result.out.strip().isascii())
            self.check_stats(result.stats())

    def test_the_end_token_ends_the_text_unless_ignored(self):
        model = write_model(self.folder / "m.gguf")
        ids = self.succeed("run", "-m", model, "-p", "th", "-n", "9", "--temp", "0", "--ignore-eos", "--print-ids").json()["ids"]
        self.assertEqual(len(ids), 9)
        ending = write_model(self.folder / "e.gguf", keys={"tokenizer.ggml.eos_token_id": ids[3]})
        stops_at = ids.index(ids[3]) + 1
        run = ("run", "-m", ending, "-p", "th", "-n", "9", "--temp", "0", "--stats", "json", "--quiet")
        result = self.succeed(*run, "--print-ids")
        self.assertEqual(result.json()["ids"], ids[:stops_at])
        self.assertEqual(result.stats()["generated_tokens"], stops_at)
        self.assertEqual(self.succeed(*run, "--print-ids", "--ignore-eos").json()["ids"], ids)

    def test_rows_beyond_the_vocabulary_are_tokens_without_text(self):
        model = write_model(self.folder / "m.gguf", unused_rows=200)
        run = ("run", "-m", model, "-p", "a", "-n", "40", "--temp", "3", "--seed", "5", "--ignore-eos", "--quiet")
        ids = self.succeed(*run, "--print-ids").json()["ids"]
        self.assertGreater(max(ids), 259, "no such token was drawn: the test shows nothing")
        self.succeed(*run)
        self.fail_with(2, "token id 460", "run", "-m", model, "--tokens", "460")

    def test_broken_characters_become_replacement_characters(self):
        model = write_model(self.folder / "m.gguf")
        result = self.succeed("run", "-m", model, "-p", "a", "-n", "60", "--temp", "2", "--seed", "1", "--ignore-eos", "--quiet")
        self.assertIn("\ufffd", result.out_bytes.decode("utf-8"))

    def test_the_statistics_hold_every_field_and_make_sense(self):
        result = self.succeed("run", "-m", DEMO, "-p", PROMPT, "-n", "24", "--ignore-eos", "--ram", "64M", "--stats", "json")
        self.assertEqual(len(result.err.splitlines()), 1)
        stats = result.stats()
        self.check_stats(stats)
        self.assertEqual(stats["model"], "sluice-storyteller")
        self.assertEqual((stats["arch"], stats["ram_budget_bytes"]), ("deepseek2", 64 << 20))
        self.assertEqual(stats["generated_tokens"], 24)
        self.assertGreater(stats["expert_hits"], 0)
        self.assertGreater(stats["bytes_read_prompt"], 0)
        self.assertGreater(stats["prompt_seconds"], 0)
        self.assertGreater(stats["peak_rss_bytes"], stats["pool_bytes"] // 4)

    def test_the_statistics_are_the_last_line_even_after_progress(self):
        run = ("run", "-m", DEMO, "-p", PROMPT, "-n", "2", "--stats", "json", "--progress", "always")
        self.check_stats(self.succeed(*run).stats())

    def test_the_statistics_name_the_file_of_a_model_without_a_name(self):
        model = write_model(self.folder / "anonymous.gguf", keys={"general.name": None})
        stats = self.succeed("run", "-m", model, "-p", "a", "-n", "1", "--stats", "json", "--quiet").stats()
        self.assertIn("anonymous.gguf", stats["model"])

    def test_statistics_are_text_by_default_and_none_when_told(self):
        text = self.succeed("run", "-m", DEMO, "-p", "a", "-n", "2").err
        self.assertIn("tokens/min", text)
        self.assertIn("budget", text)
        self.assertEqual(self.succeed("run", "-m", DEMO, "-p", "a", "-n", "2", "--stats", "none").err, "")

    def test_small_prompt_chunks_change_no_token(self):
        expected = self.text("-n", "12")
        for chunk in ("1", "3", "64"):
            self.assertEqual(self.text("-n", "12", "--prompt-chunk", chunk), expected)

    def test_a_split_model_is_opened_by_its_first_shard_or_its_folder(self):
        whole = write_model(self.folder / "whole.gguf")
        shards = self.folder / "shards"
        shards.mkdir()
        first, _ = split_model(shards)
        expected = self.succeed("run", "-m", whole, "-p", "a", "-n", "9", "--temp", "0", "--quiet").out
        for model in (first, shards):
            self.assertEqual(self.succeed("run", "-m", model, "-p", "a", "-n", "9", "--temp", "0", "--quiet").out, expected)


if __name__ == "__main__":
    unittest.main()
