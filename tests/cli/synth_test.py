"""sluice synth: files of true shapes that the program can inspect and run."""

import signal
import subprocess
import unittest

from sluice_cli import BINARY, TIMEOUT_S, CliTest


class SynthTest(CliTest):
    def synth(self, *options, name="model.gguf"):
        path = self.folder / name
        return path, self.succeed("synth", "-o", path, "--json", *options).json()

    def test_a_small_shape_runs_with_text_under_a_small_budget(self):
        path, made = self.synth("--shape", "tiny", "--layers", "3", "--quant", "q2_K")
        self.assertEqual(made["file_bytes"], path.stat().st_size)
        self.assertLessEqual(made["written_bytes"], made["file_bytes"])
        self.assertEqual([entry.name for entry in self.folder.iterdir()], ["model.gguf"])
        options = ("--ram", "64M", "-n", "6", "--ignore-eos", "--stats", "json", "--seed", "1")
        run = self.succeed("run", "-m", path, "-p", "the king", *options)
        self.check_stats(run.stats())
        self.assertEqual(run.stats()["generated_tokens"], 6)
        self.assertLess(run.stats()["expert_hits"], run.stats()["expert_lookups"])

    def test_every_family_has_a_small_shape_that_can_be_inspected(self):
        shapes = {"tiny": "deepseek2", "tiny-glm": "glm4moe", "tiny-qwen3": "qwen3moe", "tiny-gpt-oss": "gpt-oss"}
        for shape, arch in shapes.items():
            path, made = self.synth("--shape", shape, "--layers", "2")
            facts = self.succeed("inspect", path, "--json").json()
            self.assertEqual(facts["arch"], arch)
            self.assertEqual(facts["tensors"], made["tensors"])

    def test_any_text_can_be_encoded(self):
        path, _ = self.synth("--shape", "tiny", "--layers", "1")
        self.assertEqual(self.succeed("tokenize", "-m", path, "-p", "th").json()["ids"], [258])
        ids = self.succeed("tokenize", "-m", path, "-p", "the \u2603").json()["ids"]
        text = self.succeed("detokenize", "-m", path, "--tokens", ",".join(map(str, ids))).json()["text"]
        self.assertEqual(text, "the \u2603")

    def test_the_same_seed_gives_the_same_bytes(self):
        options = ("--shape", "tiny-gpt-oss", "--layers", "2")
        first, _ = self.synth(*options, name="first")
        again, _ = self.synth(*options, "--threads", "1", name="again")
        other, _ = self.synth(*options, "--seed", "8", name="other")
        self.assertEqual(first.read_bytes(), again.read_bytes())
        self.assertNotEqual(first.read_bytes(), other.read_bytes())

    def test_a_skew_lets_a_cache_hit_more_often(self):
        rates = {}
        for skew in ("0", "0.5", "1.5"):
            path, _ = self.synth("--shape", "tiny", "--skew", skew)
            trace = self.folder / "trace"
            options = ("-n", "60", "--ignore-eos", "--quiet", "--print-ids", "--seed", "1", "--trace", trace)
            self.succeed("run", "-m", path, "-p", "the king", *options)
            result = self.succeed("replay", trace, "--policy", "lru", "--budget", "25%", "--json").json()
            rates[skew] = result["hit_rate"]
        self.assertGreater(rates["0.5"], rates["0"] + 0.15)
        self.assertGreater(rates["1.5"], rates["0.5"])

    def test_the_cost_is_told_first(self):
        path = self.folder / "model.gguf"
        shown = self.succeed("synth", "--shape", "tiny-gpt-oss", "--layers", "2", "-o", path, "--progress", "always")
        self.assertRegex(shown.err.splitlines()[0], r"GB to readers, .* GB of disk")

    def test_wrong_words_are_refused_with_the_right_ones(self):
        path = self.folder / "model.gguf"
        self.fail_with(2, "glm-4.6", "synth", "--shape", "glm", "-o", path)
        self.fail_with(2, "q4_K", "synth", "--shape", "tiny", "-o", path, "--quant", "q4")
        self.fail_with(2, "layers", "synth", "--shape", "tiny", "-o", path, "--layers", "7")
        self.fail_with(2, "2880", "synth", "--shape", "gpt-oss-120b", "-o", path, "--quant", "q4_K")
        self.fail_with(2, "ordinary file", "synth", "--shape", "tiny", "-o", self.folder)
        self.fail_with(1, "none", "synth", "--shape", "tiny", "-o", self.folder / "none" / "model.gguf")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_an_interrupt_leaves_nothing_behind(self):
        command = [BINARY, "synth", "--shape", "mid", "-o", str(self.folder / "model.gguf"), "--progress", "always"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, bufsize=0)
        self.addCleanup(process.kill)
        line = process.stderr.readline()
        while line and not line.startswith(b"writing"):
            line = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIMEOUT_S)
        self.assertEqual(process.returncode, 130)
        self.assertEqual(list(self.folder.iterdir()), [])


if __name__ == "__main__":
    unittest.main()
