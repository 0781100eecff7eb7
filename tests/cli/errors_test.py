"""Files and requests that cannot be served: one clear line each."""

import json
import unittest
from pathlib import Path

from gguf_writer import model_keys, split_model, write_gguf, write_model
from sluice_cli import DEMO, CliTest, shared, sluice


class ErrorsTest(CliTest):
    def refuse(self, needle, model, *options):
        return self.fail_with(1, needle, "run", "-m", model, "-p", "a", "-n", "1", *options)

    def model(self, **changes):
        return write_model(self.folder / "model.gguf", **changes)

    def test_the_sound_model_runs(self):
        self.succeed("run", "-m", self.model(), "-p", "a", "-n", "1")

    def test_a_missing_file_is_named(self):
        self.refuse("cannot open", self.folder / "none.gguf")
        self.refuse("none.gguf", self.folder / "none.gguf")

    def test_a_folder_must_hold_one_model(self):
        self.refuse("no .gguf file", self.folder)
        write_model(self.folder / "a.gguf")
        self.succeed("run", "-m", self.folder, "-p", "a", "-n", "1")
        write_model(self.folder / "b.gguf")
        self.refuse("b.gguf", self.folder)

    def test_another_kind_of_file_is_refused(self):
        self.refuse("magic", self.write("story.gguf", "once upon a time there was no model at all"))
        self.refuse("cut short", self.write("empty.gguf", ""))

    def test_a_truncated_file_is_refused(self):
        whole = Path(self.model()).read_bytes()
        self.refuse("cut short", self.write("cut.gguf", whole[: len(whole) // 2]))
        self.refuse("does not fit in the", self.write("header.gguf", whole[:2000]))

    def test_a_split_set_needs_all_its_shards_whole(self):
        first, second = split_model(self.folder)
        self.succeed("run", "-m", first, "-p", "a", "-n", "1")
        self.refuse("part-00001-of-00002.gguf", second)
        whole = Path(second).read_bytes()
        self.write("part-00002-of-00002.gguf", whole[:-4096])
        self.refuse("part-00002-of-00002.gguf", first)
        (self.folder / "part-00002-of-00002.gguf").unlink()
        self.refuse("part-00002-of-00002.gguf", first)

    def test_an_unknown_architecture_is_named_with_the_known_ones(self):
        model = self.model(keys={"general.architecture": "parrot"})
        self.refuse('"parrot"', model)
        self.refuse("deepseek2", model)

    def test_an_unknown_architecture_is_reported_before_its_unknown_tokenizer(self):
        self.refuse('"parrot"', self.model(keys={"general.architecture": "parrot", "tokenizer.ggml.pre": "squawk"}))

    def test_unknown_and_retired_tensor_types_are_named(self):
        for kind in (4, 36, 99):
            model = self.model(bend=lambda name, dims, old, kind=kind: (name, dims, kind if name == "output.weight" else old))
            self.refuse(f"'output.weight': tensor type {kind}", model)

    def test_a_missing_tensor_is_named(self):
        self.refuse("blk.1.attn_kv_b.weight is missing", self.model(drop=("blk.1.attn_kv_b.weight",)))
        self.refuse("blk.1.ffn_up_exps.weight is missing", self.model(drop=("blk.1.ffn_up_exps.weight",)))

    def test_a_misshapen_tensor_is_named_with_both_shapes(self):
        def bend(name, dims, kind):
            return name, ([16, 64, 8] if name == "blk.1.ffn_up_exps.weight" else dims), kind

        self.refuse("blk.1.ffn_up_exps.weight has dimensions 16x64x8", self.model(bend=bend))
        self.refuse("32x32x8", self.model(bend=bend))

    def test_missing_and_wild_keys_are_named(self):
        self.refuse("deepseek2.attention.kv_lora_rank", self.model(keys={"deepseek2.attention.kv_lora_rank": None}))
        self.refuse("deepseek2.expert_used_count is 9", self.model(keys={"deepseek2.expert_used_count": 9}))
        self.refuse("deepseek2.block_count", self.model(keys={"deepseek2.block_count": 0}))
        self.refuse("deepseek2.context_length", self.model(keys={"deepseek2.context_length": (1 << 32) - 1}))
        self.refuse("deepseek2.context_length", self.model(keys={"deepseek2.context_length": "long"}))

    def test_a_model_without_a_tokenizer_or_with_an_unknown_one_says_so(self):
        self.refuse("tokenizer.ggml.model", self.model(keys={"tokenizer.ggml.model": None}))
        self.refuse("'squawk'", self.model(keys={"tokenizer.ggml.pre": "squawk"}))

    def test_an_unknown_tokenizer_is_no_hindrance_when_nothing_of_it_is_needed(self):
        model = self.model(keys={"tokenizer.ggml.pre": "squawk"})
        ids = self.succeed("run", "-m", model, "--tokens", "1,2", "-n", "3", "--print-ids", "--ignore-eos").json()["ids"]
        self.assertEqual(len(ids), 3)
        self.refuse("'squawk'", model)

    def test_an_unknown_chat_template_asks_for_raw(self):
        model = self.model(keys={"tokenizer.chat_template": "{{ bos_token }}{{ messages[0] }}"})
        self.refuse("--raw", model)
        self.succeed("run", "-m", model, "-p", "a", "-n", "1", "--raw")

    def test_a_system_message_needs_a_chat_template(self):
        self.fail_with(2, "--system", "run", "-m", self.model(), "-p", "a", "--system", "be brief")
        self.fail_with(2, "--system", "run", "-m", self.model(), "-p", "a", "--raw", "--system", "be brief")

    def test_a_prompt_must_fit_the_context(self):
        tokens = ",".join(["2"] * 64)
        for options in ((), ("--ctx", "64")):
            self.fail_with(2, "64 tokens", "run", "-m", self.model(), "--tokens", tokens, *options)
        self.fail_with(2, "context of 5 tokens", "run", "-m", self.model(), "--tokens", "2,2,2,2,2", "--ctx", "5")
        self.succeed("run", "-m", self.model(), "--tokens", tokens, "-n", "0")
        self.succeed("run", "-m", self.model(), "--tokens", tokens[2:], "-n", "1")

    def test_a_context_beyond_the_models_is_refused(self):
        self.fail_with(2, "beyond the model's 64", "run", "-m", self.model(), "-p", "a", "--ctx", "65")
        ids = self.token_file([[1] * 65])
        self.fail_with(2, "beyond the model's 64", "logits", "-m", self.model(), "--tokens-file", ids, "-o", self.folder / "o")
        text = self.write("text", "a" * 100)
        self.fail_with(2, "beyond the model's 64", "perplexity", "-m", self.model(), "-f", text, "--ctx", "65")

    def test_tokens_must_be_numbers_in_the_vocabulary(self):
        self.fail_with(2, "token id 4096", "run", "-m", DEMO, "--tokens", "1,4096")
        self.fail_with(2, "token id -1", "run", "-m", DEMO, "--tokens=-1")
        for text in ("1,x", "1,,2", ",", "1 2", "99999999999"):
            self.fail_with(2, "is not a token id", "run", "-m", DEMO, "--tokens", text)
        ids = self.token_file([[1, 4096]])
        self.fail_with(2, "token id 4096", "logits", "-m", DEMO, "--tokens-file", ids, "-o", self.folder / "o")

    def test_an_empty_prompt_is_refused_unless_the_model_begins_by_itself(self):
        model = self.model(keys={"tokenizer.ggml.add_bos_token": False})
        self.fail_with(2, "the prompt is empty", "run", "-m", model, "-p", "")
        self.fail_with(2, "the prompt is empty", "run", "-m", model, "-f", self.write("nothing", ""))
        self.succeed("run", "-m", self.model(), "-p", "", "-n", "1")

    def test_prompt_files_must_be_readable(self):
        self.fail_with(1, "cannot open", "run", "-m", DEMO, "-f", self.folder / "none.txt")
        self.fail_with(1, "cannot read", "run", "-m", DEMO, "-f", self.folder)
        self.fail_with(1, "cannot read", "perplexity", "-m", DEMO, "-f", self.folder)

    def test_a_malformed_token_file_is_refused(self):
        output = self.folder / "out.f32"
        for text in ("", "[[1, 2]", "{}", "[1, 2]", "[[]]", "[[1.5]]", "[[-1]]", '[["1"]]', "[[1], null]", "[[18446744073709551615]]"):
            with self.subTest(text=text):
                ids = self.write("ids.json", text)
                self.fail_with(1, "is not a JSON list of token id lists", "logits", "-m", DEMO, "--tokens-file", ids, "-o", output)
                good = self.token_file([[1]])
                self.fail_with(1, "is not a JSON list", "logits", "-m", DEMO, "--tokens-file", good, "-o", output, "--batch-with", ids)
        self.fail_with(1, "cannot open", "logits", "-m", DEMO, "--tokens-file", self.folder / "none", "-o", output)
        self.assertFalse(output.exists())

    def test_an_output_that_cannot_be_written_is_an_error(self):
        ids = self.token_file([[1, 2, 3]])
        self.fail_with(1, "cannot create", "logits", "-m", DEMO, "--tokens-file", ids, "-o", self.folder / "no" / "out")
        if not Path("/dev/full").exists():
            self.skipTest("SKIP: no /dev/full")
        self.fail_with(1, "cannot write /dev/full: No space left", "logits", "-m", DEMO, "--tokens-file", ids, "-o", "/dev/full")

    def test_a_budget_below_the_floor_is_refused_with_the_floor(self):
        self.fail_with(1, "the floor of", "run", "-m", DEMO, "-p", "a", "--ram", "5M")

    def test_every_malformed_container_is_one_line(self):
        folder = shared("formats/malformed")
        cases = json.loads((folder / "expected.json").read_text(encoding="utf-8"))["files"]
        self.assertGreater(len(cases), 50)
        for case in cases:
            with self.subTest(case["file"]):
                self.refuse("", folder / case["file"])
                if case["expect"] == "refuse":
                    self.fail_with(1, case["file"], "inspect", folder / case["file"])
                else:
                    self.assertIn(sluice("inspect", folder / case["file"]).status, (0, 1))

    def test_every_broken_split_set_is_one_line(self):
        folder = shared("formats/malformed/split")
        sets = json.loads((folder / "expected.json").read_text(encoding="utf-8"))["sets"]
        refused = [case["open"] for case in sets if case["expect"] == "refuse"]
        self.assertGreater(len(refused), 3)
        for name in refused:
            with self.subTest(name):
                self.fail_with(1, "", "inspect", folder / name)

    def test_a_model_without_tensors_is_refused(self):
        self.refuse("token_embd.weight is missing", write_gguf(self.folder / "bare.gguf", model_keys(), []))


if __name__ == "__main__":
    unittest.main()
