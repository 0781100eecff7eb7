"""sluice tokenize and detokenize."""

import json
import unittest

from gguf_writer import write_model
from sluice_cli import DEMO, CliTest, shared, sluice

TEXTS = ["Once upon a time", "", "  two  spaces\n\tand a tab", "naïve café ☃ 漢字 \U0001f600", "<s>The end</s>"]


class TextTest(CliTest):
    def setUp(self):
        super().setUp()
        self.model = write_model(self.folder / "m.gguf")

    def ids(self, *options, stdin=b""):
        return self.succeed("tokenize", "-m", self.model, *options, stdin=stdin).json()["ids"]

    def text(self, ids):
        joined = ",".join(map(str, ids))
        return self.succeed("detokenize", "-m", self.model, "--tokens", joined).json()["text"]

    def lines(self, command, content):
        path = self.write("in.jsonl", content)
        out = self.succeed(command, "-m", self.model, "--jsonl", path).out
        return [json.loads(line) for line in out.splitlines()]

    def test_merges_are_applied(self):
        self.assertEqual(self.ids("-p", "the"), [258, 2 + ord("e")])
        self.assertEqual(self.ids("-p", "he"), [259])

    def test_text_comes_from_the_command_line_a_file_or_standard_input(self):
        expected = self.ids("-p", "the cat")
        self.assertEqual(self.ids("-f", self.write("text", "the cat")), expected)
        self.assertEqual(self.ids("-f", "-", stdin=b"the cat"), expected)

    def test_text_returns_as_it_was(self):
        for text in TEXTS[:1] + TEXTS[2:]:
            self.assertEqual(self.text(self.ids("-p", text)), text)
        everything = bytes(range(256)) * 3
        ids = self.ids("-f", self.write("bytes", everything))
        self.assertEqual(self.text(ids), everything.decode("utf-8", "replace"))

    def test_an_empty_text_has_no_tokens(self):
        self.assertEqual(self.ids("-p", ""), [])

    def test_added_tokens_are_recognised_as_told(self):
        keys = {"tokenizer.ggml.token_type": [3, 4] + [1] * 258}
        self.model = write_model(self.folder / "m.gguf", keys=keys)
        text = "<s>he</s>"
        spelled_out = [self.ids("-p", part, "--parse-special", "none") for part in ("<s>", "</s>")]
        self.assertEqual(self.ids("-p", text), [0, 259, 1])
        self.assertEqual(self.ids("-p", text, "--parse-special", "all"), [0, 259, 1])
        self.assertEqual(self.ids("-p", text, "--parse-special", "user"), [*spelled_out[0], 259, 1])
        none = self.ids("-p", text, "--parse-special", "none")
        self.assertNotIn(0, none)
        self.assertNotIn(1, none)
        self.assertEqual(self.text(none), text)
        self.fail_with(2, "some", "tokenize", "-m", self.model, "-p", "a", "--parse-special", "some")

    def test_the_bos_token_is_added_on_request(self):
        self.assertEqual(self.ids("-p", "he", "--bos"), [0, 259])
        keys = {"tokenizer.ggml.bos_token_id": None, "tokenizer.ggml.add_bos_token": False}
        model = write_model(self.folder / "none.gguf", keys=keys)
        self.fail_with(1, "no BOS token", "tokenize", "-m", model, "-p", "a", "--bos")

    def test_each_line_of_a_jsonl_file_gives_one_line(self):
        content = "".join(json.dumps({"text": text, "id": 1}) + "\n" for text in TEXTS)
        by_line = self.lines("tokenize", content)
        self.assertEqual([line["ids"] for line in by_line], [self.ids("-p", text) for text in TEXTS])
        back = self.lines("detokenize", "".join(json.dumps(line) + "\n" for line in by_line))
        self.assertEqual([line["text"] for line in back], TEXTS)

    def test_jsonl_comes_from_standard_input_too_with_any_line_ends(self):
        content = b'{"text": "he"}\r\n\r\n{"text": "th"}'
        result = self.succeed("tokenize", "-m", self.model, "--jsonl", "-", stdin=content)
        self.assertEqual(result.out, '{"ids":[259]}\n{"ids":[258]}\n')
        self.assertEqual(self.lines("tokenize", ""), [])

    def test_a_bad_line_is_named_after_the_good_ones_before_it(self):
        for line in ("{", "[]", "{}", '{"text": 5}', '{"text": "\ud800"}'):
            path = self.write("in.jsonl", b'{"text": "he"}\n' + line.encode("utf-8", "surrogatepass") + b"\n")
            result = self.fail_line("tokenize", path)
            self.assertIn(f"{path}:2: ", result.err)
        for line in ("{}", '{"ids": 5}', '{"ids": [-1]}', '{"ids": ["1"]}', '{"ids": [260]}', '{"ids": [99999999999]}'):
            path = self.write("in.jsonl", f'{{"ids": [259]}}\n{line}\n')
            self.assertIn(f"{path}:2: ", self.fail_line("detokenize", path).err)

    def fail_line(self, command, path):
        result = sluice(command, "-m", self.model, "--jsonl", path)
        self.assertEqual(len(result.out.splitlines()), 1)
        self.assertIn(result.status, (1, 2))
        self.assertRegex(result.err, r"\Asluice: [^\n]+\n\Z")
        return result

    def test_exactly_one_input_is_taken(self):
        self.fail_with(2, "one input", "tokenize", "-m", self.model)
        self.fail_with(2, "one input", "tokenize", "-m", self.model, "-p", "a", "-f", "-")
        self.fail_with(2, "one input", "detokenize", "-m", self.model)
        self.fail_with(2, "one input", "detokenize", "-m", self.model, "--tokens", "1", "--jsonl", "-")

    def test_ids_outside_the_vocabulary_are_refused(self):
        self.fail_with(2, "token id 260", "detokenize", "-m", self.model, "--tokens", "1,260")
        self.fail_with(2, "is not a token id", "detokenize", "-m", self.model, "--tokens", "1;2")

    def test_the_demonstration_model_keeps_its_own_text(self):
        self.model = DEMO
        text = "There was once a King who had three sons, and the youngest was called Jack."
        ids = self.ids("-p", text)
        self.assertLess(len(ids), len(text) / 3)
        self.assertEqual(self.text(ids), text)

    def test_the_held_out_text_has_the_ids_of_its_authors(self):
        expected = json.loads(shared("demo/valid_ids.json").read_text(encoding="utf-8"))
        self.model = DEMO
        ids = self.ids("-f", shared("demo/valid.txt"), "--parse-special", "none")
        self.assertEqual(ids, expected["ids"] if isinstance(expected, dict) else expected)


if __name__ == "__main__":
    unittest.main()
