"""The bytes that the statistics name are those that the kernel counted for the process."""

import json
import os
import subprocess
import unittest

from sluice_cli import BINARY, DEMO, MIB, SANITIZED, CliTest, io_backends

RUN = ("run", "-m", DEMO, "-p", "Once upon a time", "-n", "20", "--temp", "0", "--ignore-eos", "--quiet", "--stats", "json")

# Slots of the trunk's stream, no larger than an expert: what is in them at the end was read for nobody.
READ_AHEAD_SLOTS = 16


class CountersTest(CliTest):
    def counted(self, *arguments):
        """The statistics of a run and the kernel's own, read before the process is gone for good."""
        command = [BINARY, *map(str, arguments)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            try:
                with open(f"/proc/{process.pid}/io", encoding="ascii") as io:
                    kernel = {name: int(value) for name, value in (line.split(": ") for line in io)}
            except OSError as error:
                self.skipTest(f"SKIP: the kernel does not say what it counts: {error}")
            _, err = process.communicate()
        self.assertEqual(process.returncode, 0, err)
        return json.loads(err.decode().splitlines()[-1]), kernel

    @unittest.skipUnless(hasattr(os, "waitid") and os.path.exists("/proc/self/io"), "SKIP: no /proc/PID/io here")
    def test_the_bytes_read_are_those_that_the_kernel_counted(self):
        floor = self.floor_of(*RUN)
        self.counted(*RUN)  # the program and the header of the model are in the page cache now
        for io in io_backends():
            for budget in (floor, floor + 4 * MIB, 256 * MIB):
                for options in ((), ("--no-prefetch",)):
                    stats, kernel = self.counted(*RUN, "--ram", budget, "--io", io, *options)
                    if not stats["direct_io"]:
                        self.skipTest("SKIP: this file system has no direct reads")
                    self.check_stats(stats)
                    read = stats["bytes_read"]
                    self.assertGreater(read, MIB)
                    # Beyond it: what was on its way when the statistics were taken.
                    self.assertLessEqual(read, kernel["read_bytes"], (io, budget, options))
                    self.assertLess(kernel["read_bytes"], read + 4 * MIB, (io, budget, options))
                    if io == "pread":
                        # With the header, and what the dynamic linker reads.
                        self.assertLessEqual(read, kernel["rchar"])
                        self.assertLess(kernel["rchar"], read + 4 * MIB)

    def test_lookups_are_hits_and_reads_when_nothing_is_guessed(self):
        model = self.folder / "tiny.gguf"
        self.succeed("synth", "--shape", "tiny", "--layers", "3", "-o", model)
        run = ("run", "-m", model, "-p", "the king", "-n", "30", "--ignore-eos", "--seed", "1", "--quiet", "--stats", "json")
        budget = self.floor_of(*run) + 8 * MIB
        stats = self.succeed(*run, "--ram", budget, "--no-prefetch").stats()
        self.assertEqual(stats["expert_prefetched_used"] + stats["expert_prefetched_wasted"], 0)
        misses = stats["expert_lookups"] - stats["expert_hits"]
        slot = stats["pool_bytes"] / stats["pool_slots"]
        self.assertGreater(misses, 10 * READ_AHEAD_SLOTS)
        # Besides the experts: the pinned weights, the streamed ones and rows of the embedding.
        others = stats["bytes_read_load"] + stats["trunk_streamed_bytes"]
        rows = stats["prompt_tokens"] + stats["generated_tokens"]
        self.assertGreaterEqual(stats["bytes_read"], misses * slot * 0.98 + others)
        self.assertLessEqual(stats["bytes_read"], misses * slot + others + rows * 16384 + READ_AHEAD_SLOTS * slot)


if __name__ == "__main__":
    unittest.main()
