"""Ctrl-C: what was generated so far is printed, the statistics come, and the exit status is 130."""

import json
import signal
import subprocess
import sys
import time
import unittest

from sluice_cli import DEMO, TIMEOUT_S, CliTest

# Slow enough to be interrupted in the middle, on any machine.
SLOW = ("run", "-m", str(DEMO), "--compute", "float", "--threads", "1", "--temp", "0", "--ignore-eos", "--stats", "json")


class InterruptTest(CliTest):
    def await_progress(self, process, what):
        line = process.stderr.readline()
        while line and not line.startswith(what):
            line = process.stderr.readline()
        self.assertTrue(line, "no progress was shown")

    def interrupt(self, process, number=signal.SIGINT):
        process.send_signal(number)
        out, err = process.communicate(timeout=TIMEOUT_S)
        self.assertEqual(process.returncode, 130, err)
        return out.decode(), err.decode()

    def test_a_generation_ends_with_its_text_and_its_statistics(self):
        process = self.start(*SLOW, "-p", "Once upon a time", "-n", "500")
        first = process.stdout.read(4).decode()
        out, err = self.interrupt(process)
        stats = json.loads(err.splitlines()[-1])
        self.check_stats(stats)
        self.assertTrue((first + out).endswith("\n"))
        self.assertGreater(stats["generated_tokens"], 0)
        self.assertLess(stats["generated_tokens"], 490)
        whole = self.succeed(*SLOW[:-2], "--quiet", "-p", "Once upon a time", "-n", stats["generated_tokens"]).out
        self.assertEqual(first + out, whole)

    def test_ids_are_printed_too(self):
        process = self.start(*SLOW, "-p", "Once", "-n", "500", "--print-ids", "--prompt-chunk", "1", "--progress", "always")
        self.await_progress(process, b"prompt")
        out, err = self.interrupt(process)
        stats = json.loads(err.splitlines()[-1])
        self.assertEqual(len(json.loads(out)["ids"]), stats["generated_tokens"])
        self.assertLess(stats["generated_tokens"], 490)

    def test_a_long_prompt_ends_early_with_the_statistics_of_its_part(self):
        tokens = ",".join(["7"] * 500)
        process = self.start(*SLOW, "--tokens", tokens, "-n", "5", "--prompt-chunk", "1", "--progress", "always")
        self.await_progress(process, b"prompt")
        out, err = self.interrupt(process)
        stats = json.loads(err.splitlines()[-1])
        self.check_stats(stats)
        self.assertEqual(out, "\n")
        self.assertEqual(stats["generated_tokens"], 0)
        self.assertGreater(stats["prompt_tokens"], 0)
        self.assertLess(stats["prompt_tokens"], 500)

    def test_the_other_commands_end_without_a_word(self):
        ids = self.token_file([[7] * 500] * 3)
        output = self.folder / "out.f32"
        options = ("--compute", "float", "--threads", "1", "--prompt-chunk", "1", "--progress", "always")
        text = self.write("text", "Once upon a time there was a king. " * 400)
        commands = (("logits", "--all-positions", "--tokens-file", ids, "-o", output), ("perplexity", "-f", text))
        for command in commands:
            process = self.start(*command, "-m", DEMO, *options)
            self.await_progress(process, command[0].encode())
            out, err = self.interrupt(process)
            self.assertEqual(out, "")
            self.assertNotIn("sluice:", err)

    def test_a_request_to_terminate_is_an_interrupt(self):
        process = self.start(*SLOW, "-p", "Once upon a time", "-n", "500")
        process.stdout.read(4)
        _, err = self.interrupt(process, signal.SIGTERM)
        json.loads(err.splitlines()[-1])

    @unittest.skipUnless(sys.platform == "linux", "SKIP: needs /proc to see when the handler is there")
    def test_before_anything_is_generated_it_ends_at_once(self):
        process = self.start("run", "-m", DEMO, "-f", "-", stdin=subprocess.PIPE)
        deadline = time.monotonic() + TIMEOUT_S
        while not self.catches_interrupts(process.pid):
            self.assertLess(time.monotonic(), deadline)
        out, err = self.interrupt(process)
        self.assertEqual((out, err), ("", ""))

    @staticmethod
    def catches_interrupts(pid):
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            caught = next(int(line.split()[1], 16) for line in status if line.startswith("SigCgt:"))
        return caught >> (signal.SIGINT - 1) & 1


if __name__ == "__main__":
    unittest.main()
