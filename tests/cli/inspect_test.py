"""sluice inspect: what a file holds, from its header alone."""

import os
import unittest
from pathlib import Path

from gguf_writer import TYPE_F32, model_keys, model_tensors, split_model, tensor_size, write_gguf, write_model
from sluice_cli import DEMO, CliTest, shared


class InspectTest(CliTest):
    def inspect(self, model, *options):
        return self.succeed("inspect", model, "--json", *options).json()

    def test_the_numbers_of_the_demonstration_model(self):
        facts = self.inspect(DEMO)
        expected = {"arch": "deepseek2", "supported": True, "layers": 5, "dense_layers": 1, "experts": 32}
        expected |= {"experts_used": 4, "vocab": 4096, "context_length": 512, "files": 1, "embedding_length": 256}
        for key, value in expected.items():
            self.assertEqual(facts[key], value, key)
        self.assertEqual(facts["total_bytes"], os.path.getsize(DEMO))
        self.assertEqual(facts["routed_bytes_per_token"], facts["expert_bytes"] // 32 * 4)
        self.assertEqual(facts["kv_bytes_per_token"], 5 * 80 * 2)
        self.assertEqual(sum(kind["tensors"] for kind in facts["quantisation"].values()), facts["tensors"])
        whole = sum(kind["bytes"] for kind in facts["quantisation"].values())
        self.assertGreater(whole, facts["trunk_bytes"] + facts["expert_bytes"])
        self.assertLess(whole, facts["total_bytes"])

    def test_the_floor_of_inspect_is_enough_for_a_run_of_that_context(self):
        facts = self.inspect(DEMO)
        self.succeed("run", "-m", DEMO, "-p", "a", "-n", "4", "--ctx", facts["floor_context"], "--ram", facts["floor_bytes"])

    def test_text_says_the_same_in_lines(self):
        lines = self.succeed("inspect", DEMO).out.splitlines()
        table = dict(line.split(maxsplit=1) for line in lines if not line.startswith(" "))
        facts = self.inspect(DEMO)
        for key, value in facts.items():
            if key != "quantisation":
                self.assertEqual(table[key], str(value).lower() if isinstance(value, bool) else str(value))
        self.assertEqual(len([line for line in lines if line.startswith("  ")]), len(facts["quantisation"]))

    def test_the_model_may_be_given_as_an_option_too(self):
        self.assertEqual(self.succeed("inspect", "-m", DEMO).out, self.succeed("inspect", DEMO).out)

    def test_tensors_are_listed_on_request(self):
        model = write_model(self.folder / "m.gguf")
        self.assertNotIn("tensor_list", self.inspect(model))
        listed = self.inspect(model, "--tensors")["tensor_list"]
        expected = [(name, dims, tensor_size(dims, kind)) for name, dims, kind in model_tensors()]
        self.assertEqual([(t["name"], t["dims"], t["bytes"]) for t in listed], expected)
        self.assertEqual({t["type"] for t in listed}, {"f32"})
        self.assertEqual({t["offset"] % 32 for t in listed}, {0})
        text = self.succeed("inspect", model, "--tensors").out
        for name, _, _ in expected:
            self.assertIn(name, text)

    def test_a_split_set_is_one_model(self):
        first, _ = split_model(self.folder)
        facts = self.inspect(first, "--tensors")
        self.assertEqual((facts["files"], facts["supported"]), (2, True))
        self.assertEqual({t["file"] for t in facts["tensor_list"]}, {0, 1})
        self.assertEqual(self.inspect(self.folder)["tensors"], facts["tensors"])

    def test_an_unknown_architecture_is_reported_and_is_no_error(self):
        facts = self.inspect(write_model(self.folder / "m.gguf", keys={"general.architecture": "parrot"}))
        self.assertEqual((facts["arch"], facts["supported"]), ("parrot", False))
        self.assertIn('"parrot"', facts["reason"])
        self.assertNotIn("layers", facts)
        self.assertIn("parrot", self.succeed("inspect", self.folder / "m.gguf").out)

    def test_files_without_tensors_architecture_or_keys_can_be_inspected(self):
        bare = self.inspect(write_gguf(self.folder / "bare.gguf", model_keys(), []))
        self.assertEqual((bare["tensors"], bare["supported"]), (0, False))
        lora = self.inspect(write_gguf(self.folder / "x.gguf", {"a": 1}, [("x", [4], TYPE_F32, bytes(16))]))
        self.assertEqual((lora["arch"], lora["tensors"], lora["weights"], lora["supported"]), ("", 1, 4, False))
        empty = self.inspect(write_gguf(self.folder / "empty.gguf", {}, []), "--tensors")
        self.assertEqual((empty["keys"], empty["tensor_list"]), (0, []))

    def test_a_model_that_is_incomplete_is_reported_with_the_reason(self):
        facts = self.inspect(write_model(self.folder / "m.gguf", drop=("blk.1.ffn_norm.weight",)))
        self.assertFalse(facts["supported"])
        self.assertIn("blk.1.ffn_norm.weight", facts["reason"])

    def test_a_malformed_container_is_one_error_line(self):
        whole = Path(write_model(self.folder / "m.gguf")).read_bytes()
        self.fail_with(1, "cut short", "inspect", self.write("cut.gguf", whole[:-4096]))
        self.fail_with(1, "magic", "inspect", self.write("text.gguf", "no model, just words"))
        self.fail_with(1, "cannot open", "inspect", self.folder / "none.gguf")

    def test_names_from_a_file_cannot_steer_the_terminal(self):
        out = self.succeed("inspect", write_model(self.folder / "m.gguf", keys={"general.name": "a\x1b[2Jb\nc: \"d\""})).out
        self.assertNotIn("\x1b", out)
        self.assertRegex(out, r'(?m)^name +a \[2Jb c: "d"$')
        self.assertEqual(self.inspect(self.folder / "m.gguf")["name"], "a\x1b[2Jb\nc: \"d\"")

    def test_every_well_formed_file_can_be_inspected(self):
        files = sorted(shared("formats/wellformed").glob("**/*.gguf"))
        self.assertGreater(len(files), 10)
        seen = 0
        for file in files:
            if "split" not in file.parts or "-00001-of" in file.name:
                self.inspect(file, "--tensors")
                self.succeed("inspect", file, "--tensors")
                seen += 1
        self.assertGreater(seen, 10)

    def test_every_golden_model_of_the_family_is_supported_and_others_are_named(self):
        folder = shared("golden")
        kinds = set()
        for file in folder.glob("*/*.gguf"):
            if "-of-" in file.name and "-00001-of-" not in file.name:
                continue
            facts = self.inspect(file)
            self.assertEqual(facts["supported"], facts["arch"] == "deepseek2", file)
            kinds.add(facts["supported"])
        self.assertEqual(kinds, {True, False})


if __name__ == "__main__":
    unittest.main()
