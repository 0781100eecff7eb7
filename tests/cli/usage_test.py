"""Exit status, help, bad usage, and what goes to which stream."""

import os
import subprocess
import sys
import unittest

from gguf_writer import write_model
from sluice_cli import BINARY, DEMO, SANITIZED, CliTest

COMMANDS = ("run", "logits", "perplexity", "tokenize", "detokenize", "inspect", "synth", "replay", "probe")


class UsageTest(CliTest):
    def test_help_is_everywhere_and_succeeds(self):
        self.assertIn("run", self.succeed("--help").out)
        for command in COMMANDS:
            result = self.succeed(command, "--help")
            self.assertIn("Usage", result.out)
            self.assertEqual(result.err, "")
        for option in ("--ram", "--threads", "--temp", "--top-p", "--top-k", "--min-p", "--seed", "--raw", "--system"):
            self.assertIn(option, self.succeed("run", "--help").out)

    def test_help_states_the_defaults(self):
        text = self.succeed("run", "--help").out
        self.assertRegex(text, r"(?m)^ +-n .*=256$")
        self.assertRegex(text, r"--temp \S*=0\.6 ")
        self.assertRegex(text, r"--no-prefetch .*read no expert before")

    def test_the_version_is_printed(self):
        self.assertRegex(self.succeed("--version").out, r"^\d+\.\d+\.\d+\n$")

    def test_a_missing_or_unknown_command_is_bad_usage(self):
        self.fail_with(2, "subcommand is required")
        self.fail_with(2, 'unknown command "frobnicate"', "frobnicate", "-m", DEMO)
        self.fail_with(2, 'unknown command ""', "")

    def test_options_that_do_not_exist_or_are_doubled_are_bad_usage(self):
        self.fail_with(2, "--bogus", "run", "-m", DEMO, "-p", "a", "--bogus")
        self.fail_with(2, "extra", "run", "-m", DEMO, "-p", "a", "extra")
        self.fail_with(2, "-n", "run", "-m", DEMO, "-p", "a", "-n", "1", "-n", "2")
        self.fail_with(2, "--ram", "run", "-m", DEMO, "-p", "a", "--ram")
        for command in COMMANDS:
            self.fail_with(2, "", command)

    def test_values_out_of_range_are_bad_usage_and_are_named(self):
        for option, value in (
            ("-n", "-1"),
            ("-n", "many"),
            ("-n", "1.5"),
            ("--ctx", "0"),
            ("--threads", "0"),
            ("--threads", "1025"),
            ("--temp", "-1"),
            ("--temp", "nan"),
            ("--temp", "warm"),
            ("--top-p", "1.5"),
            ("--min-p", "-0.1"),
            ("--top-k", "-1"),
            ("--seed", "-1"),
            ("--seed", "18446744073709551616"),
            ("--io", "floppy"),
            ("--kv", "q2"),
            ("--compute", "slow"),
            ("--kernels", "mmx"),
            ("--stats", "xml"),
            ("--progress", "maybe"),
            ("--prompt-chunk", "0"),
        ):
            with self.subTest(option=option, value=value):
                self.fail_with(2, value, "run", "-m", DEMO, "-p", "a", option, value)

    def test_sizes_are_numbers_with_a_unit(self):
        for size in ("12X", "G", "0", "-1", "1.5G", "16GB", "99999999999T", "16 G", "MiB"):
            with self.subTest(size=size):
                self.fail_with(2, f'--ram: "{size}" is not a size', "run", "-m", DEMO, "-p", "a", "--ram", size)

    def test_units_are_binary_with_or_without_their_ending(self):
        for size, number in (("1M", 1 << 20), ("1MiB", 1 << 20), ("1024k", 1 << 20), ("1048576", 1 << 20), ("2m", 2 << 20)):
            self.fail_with(1, f"the budget of {number} bytes", "run", "-m", DEMO, "-p", "a", "--ram", size)
        for size in ("1G", "1GiB", "1g"):
            budget = self.succeed("run", "-m", DEMO, "-p", "a", "-n", "0", "--ram", size, "--stats", "json").stats()
            self.assertEqual(budget["ram_budget_bytes"], 1 << 30)

    def test_a_run_takes_exactly_one_prompt(self):
        self.fail_with(2, "one prompt", "run", "-m", DEMO)
        self.fail_with(2, "one prompt", "run", "-m", DEMO, "-p", "a", "--tokens", "1")
        self.fail_with(2, "one prompt", "run", "-m", DEMO, "-p", "a", "-f", "-")

    def test_results_go_to_stdout_and_everything_else_to_stderr(self):
        result = self.succeed("run", "-m", DEMO, "-p", "Once upon", "-n", "4", "--temp", "0", "--progress", "always")
        plain = self.succeed("run", "-m", DEMO, "-p", "Once upon", "-n", "4", "--temp", "0", "--quiet")
        self.assertEqual(result.out, plain.out)
        self.assertIn("loading 100 %\n", result.err)
        self.assertIn("prompt 100 %\n", result.err)
        self.assertIn("tokens/min", result.err)

    def test_quiet_says_nothing_but_the_statistics_that_are_asked_for(self):
        quiet = ("run", "-m", DEMO, "-p", "a", "-n", "1", "--quiet")
        self.assertEqual(self.succeed(*quiet).err, "")
        self.assertEqual(self.succeed(*quiet, "--progress", "always").err, "")
        self.succeed(*quiet, "--stats", "json").stats()

    def test_progress_is_for_terminals_unless_told_otherwise(self):
        run = ("run", "-m", DEMO, "-p", "a", "-n", "1", "--stats", "none")
        for choice in ((), ("--progress", "auto"), ("--progress", "never")):
            self.assertEqual(self.succeed(*run, *choice).err, "")
        self.assertIn("%", self.succeed(*run, "--progress", "always").err)

    def test_progress_on_a_terminal_is_the_plan_and_one_line_that_goes_away(self):
        master, terminal = os.openpty()
        try:
            run = [BINARY, "run", "-m", DEMO, "-p", "a", "-n", "1", "--stats", "none"]
            code = subprocess.run(run, stdout=subprocess.DEVNULL, stderr=terminal, check=False).returncode
            shown = os.read(master, 1 << 16).decode()
        finally:
            os.close(master)
            os.close(terminal)
        self.assertEqual(code, 0)
        self.assertIn("\rloading 100 %", shown)
        self.assertTrue(shown.endswith("\r\x1b[K"), shown)
        plan, line = shown.split("\rloading", 1)
        self.assertIn("floor", plan)
        self.assertIn("expert slots", plan)
        self.assertNotIn("\n", line)

    def test_results_that_cannot_be_written_are_an_error(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("SKIP: no /dev/full")
        tiny = write_model(self.folder / "tiny.gguf")
        for command in (("run", "-m", tiny, "-p", "a", "-n", "3", "--quiet"), ("inspect", tiny), ("--help",),
                        ("tokenize", "-m", tiny, "-p", "a")):
            with self.subTest(command=command[0]):
                with open("/dev/full", "wb") as full:
                    done = subprocess.run([BINARY, *command], stdout=full, stderr=subprocess.PIPE, check=False)
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr.decode(), r"\Asluice: cannot write to standard output[^\n]*\n\Z")

    @unittest.skipUnless(sys.platform == "linux" and not SANITIZED, "SKIP: no limit on addresses here")
    def test_memory_that_the_system_refuses_is_one_line(self):
        endless = [BINARY, "run", "-m", DEMO, "-f", "/dev/zero"]
        limit = ["/bin/sh", "-c", 'ulimit -v 300000; exec "$@"', "sh"]
        done = subprocess.run(limit + endless, capture_output=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr.decode(), r"\Asluice: the system refuses memory[^\n]*\n\Z")

    def test_names_cannot_smuggle_lines_or_escapes_into_a_message(self):
        self.fail_with(1, "cannot open", "inspect", "no\nsuch\x1b[31m file")


if __name__ == "__main__":
    unittest.main()
