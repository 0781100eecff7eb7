"""sluice run --session: a later run goes on from what an earlier one computed, with the same answer."""

import signal
import unittest

from sluice_cli import DEMO, TIMEOUT_S, CliTest

FIRST = ",".join(str(3 + i % 200) for i in range(70))
LONGER = FIRST + ",9,8,7,6,5"
RUN = ("run", "-m", DEMO, "--temp", "0", "--ignore-eos", "--print-ids", "--stats", "json", "--progress", "never")


class SessionTest(CliTest):
    def run_with(self, tokens, *options, session="s"):
        result = self.succeed(*RUN, "--tokens", tokens, "-n", "12", "--session", self.folder / session, *options)
        return result.json()["ids"], result.stats()

    def run_without(self, tokens, *options):
        result = self.succeed(*RUN, "--tokens", tokens, "-n", "12", *options)
        self.assertEqual(result.stats()["prompt_tokens_reused"], 0)
        return result.json()["ids"], result.stats()

    def test_a_longer_prompt_computes_only_what_is_new_and_answers_the_same(self):
        for kv in ("f16", "q8_0"):
            ids, stats = self.run_with(FIRST, "--kv", kv, session=kv)
            self.assertEqual(stats["prompt_tokens_reused"], 0)
            self.assertEqual(ids, self.run_without(FIRST, "--kv", kv)[0])
            ids, stats = self.run_with(LONGER, "--kv", kv, session=kv)
            self.assertEqual((stats["prompt_tokens"], stats["prompt_tokens_reused"]), (75, 70))
            expected, plain = self.run_without(LONGER, "--kv", kv)
            self.assertEqual(ids, expected)
            self.assertLess(stats["expert_lookups"], plain["expert_lookups"])
            # And once more, from what this run has left.
            ids, stats = self.run_with(LONGER, "--kv", kv, session=kv)
            self.assertEqual(stats["prompt_tokens_reused"], 74)
            self.assertEqual(ids, expected)

    def test_what_was_generated_and_is_now_given_is_computed_anew(self):
        answer, _ = self.run_with(FIRST)
        longer = FIRST + "," + ",".join(map(str, answer)) + ",5,6"
        ids, stats = self.run_with(longer)
        self.assertEqual(stats["prompt_tokens_reused"], 70)
        self.assertEqual(ids, self.run_without(longer)[0])

    def test_another_prompt_begins_anew(self):
        self.run_with(FIRST)
        other = "1,2," + FIRST
        ids, stats = self.run_with(other)
        self.assertEqual(stats["prompt_tokens_reused"], 0)
        self.assertEqual(ids, self.run_without(other)[0])

    def test_an_interrupted_run_leaves_a_session_too(self):
        process = self.start("run", "-m", str(DEMO), "--compute", "float", "--threads", "1", "--temp", "0", "--quiet",
                             "--ignore-eos", "--tokens", FIRST, "-n", "500", "--session", str(self.folder / "s"))
        self.assertTrue(process.stdout.read(1))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=TIMEOUT_S)
        self.assertEqual(process.returncode, 130, err)
        ids, stats = self.run_with(LONGER, "--compute", "float")
        self.assertEqual(stats["prompt_tokens_reused"], 70)
        self.assertEqual(ids, self.run_without(LONGER, "--compute", "float")[0])

    def test_a_session_made_otherwise_or_damaged_is_refused_and_kept(self):
        path = self.folder / "s"
        self.run_with(FIRST)
        sound = path.read_bytes()
        args = (*RUN, "--tokens", LONGER, "-n", "2", "--session", path)
        self.fail_with(1, "--kv f16, not q8_0", *args, "--kv", "q8_0")
        self.fail_with(1, "kernels", *args, "--kernels", "portable")
        self.assertEqual(path.read_bytes(), sound)
        for place in (100, len(sound) // 2, 20):
            broken = bytearray(sound)
            broken[place] ^= 1
            path.write_bytes(broken)
            self.fail_with(1, "s", *args)
        path.write_bytes(b"a text of mine" * 20)
        self.fail_with(1, "is no session", *args)
        self.assertEqual(path.read_bytes(), b"a text of mine" * 20)


if __name__ == "__main__":
    unittest.main()
