"""sluice run --trace and sluice replay: what is recorded, and what policies would have made of it."""

import json
import unittest

from sluice_cli import DEMO, CliTest, shared

RUN = ("run", "-m", DEMO, "-p", "Once upon a time", "--quiet", "--ignore-eos", "--seed", "1", "--temp", "1")


class ReplayTest(CliTest):
    def trace(self, *options):
        path = self.folder / "trace.jsonl"
        result = self.succeed(*RUN, "--trace", path, "--stats", "json", *options)
        return path, result.stats()

    def replay(self, *arguments):
        return [json.loads(line) for line in self.succeed("replay", *arguments, "--json").out.splitlines()]

    def test_a_trace_holds_every_token_and_the_folder_nothing_else(self):
        path, stats = self.trace("-n", "10")
        self.assertEqual([entry.name for entry in self.folder.iterdir()], ["trace.jsonl"])
        head, *tokens = [json.loads(line) for line in path.read_text().splitlines()]
        self.assertEqual(len(tokens), stats["prompt_tokens"] + 9)
        self.assertEqual([token["pos"] for token in tokens], list(range(len(tokens))))
        self.assertEqual(tokens[0]["sweep"], tokens[1]["sweep"])
        self.assertLess(tokens[-2]["sweep"], tokens[-1]["sweep"])
        self.assertEqual(len(head["record_bytes"]), head["layers"])
        for token in tokens:
            self.assertEqual([len(ids) for ids in token["experts"]], [head["top_k"]] * head["layers"])

    def test_recording_does_not_change_the_text(self):
        plain = self.succeed(*RUN, "-n", "12").out
        self.assertEqual(self.succeed(*RUN, "-n", "12", "--trace", self.folder / "trace").out, plain)

    def test_the_replay_counts_what_the_engine_counted(self):
        # All experts of one size: the budget alone says how many slots there are.
        model = self.folder / "tiny.gguf"
        self.succeed("synth", "--shape", "tiny", "--layers", "3", "--skew", "0.5", "-o", model)
        options = ("-p", "the king", "-n", "40", "--prompt-chunk", "1", "--ignore-eos", "--seed", "1", "--quiet", "--no-prefetch")
        trace, seen = self.folder / "trace", set()
        run = ("run", "-m", model, *options, "--trace", trace)
        floor = self.floor_of(*run)
        for more in (0, 8 << 20, 40 << 20):
            stats = self.succeed(*run, "--ram", floor + more, "--stats", "json").stats()
            (result,) = self.replay(trace, "--policy", "ev", "--budget", stats["pool_bytes"])
            self.assertEqual(result["lookups"], stats["expert_lookups"])
            self.assertEqual(result["slots"], stats["pool_slots"])
            self.assertEqual(result["hits"], stats["expert_hits"])
            # Besides the experts: embedding rows and the trunk.
            self.assertGreaterEqual(stats["bytes_read"], result["bytes"])
            seen.add(result["hits"])
        self.assertGreater(len(seen), 1)

    def test_all_policies_and_predictors_on_a_recorded_trace(self):
        path = shared("traces/kimi-linear-decode.jsonl.zst")
        lines = self.replay(path, "--tokens", "60", "--predictor", "all", "--budget", "10%,25%", "--expert-bytes", "20M")
        self.assertEqual(len(lines), 2 * 3 * 5)
        rates = {(line["budget"], line["predictor"], line["policy"]): line["hit_rate"] for line in lines}
        for budget in ("10%", "25%"):
            ev, optimal = rates[budget, "none", "ev"], rates[budget, "none", "optimal"]
            for policy in ("lru", "layer-lru", "lfu"):
                self.assertGreater(ev, rates[budget, "none", policy])
            self.assertGreater(optimal, ev)
        for line in lines:
            self.assertEqual(line["lookups"], line["hits"] + line["misses"])
            reads = line["misses"] + line["prefetches"]
            self.assertEqual(line["bytes"], reads * (20 << 20))
            self.assertLessEqual(line["prefetches_used"], line["prefetches"])

    def test_a_table_for_people_has_a_line_for_each(self):
        path, _ = self.trace("-n", "5")
        lines = self.succeed("replay", path, "--budget", "50%").out.splitlines()
        self.assertEqual(len(lines), 2 + 5)
        self.assertTrue(lines[-1].startswith("optimal"))

    def test_what_cannot_be_replayed_is_refused(self):
        path, _ = self.trace("-n", "2")
        self.fail_with(2, "lru", "replay", path, "--policy", "fifo")
        self.fail_with(2, "popular", "replay", path, "--predictor", "oracle")
        for budget in ("0%", "101%", "x", "", "-4G"):
            self.fail_with(2, "--budget", "replay", path, f"--budget={budget}")
        self.fail_with(1, "line 1", "replay", self.write("text", "no trace"))
        self.fail_with(1, "zstd", "replay", self.write("cut", b"\x28\xb5\x2f\xfd"))
        self.fail_with(1, "none", "replay", self.folder / "none")
        silent = self.write("silent", '{"model":"m","layers":1,"experts":2,"top_k":1}\n{"seq":0,"pos":0,"experts":[[1]]}')
        self.fail_with(2, "--expert-bytes", "replay", silent, "--budget", "1G")

    def test_a_trace_that_cannot_be_written_is_refused_before_anything_is_generated(self):
        self.fail_with(1, "none", *RUN, "--trace", self.folder / "none" / "trace")
        self.fail_with(2, "ordinary file", *RUN, "--trace", self.folder)


if __name__ == "__main__":
    unittest.main()
