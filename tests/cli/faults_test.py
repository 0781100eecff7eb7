"""Drives that stall, files that change, disks that are full, rings and memory that may not be had: a clear end or the
right text."""

import ctypes
import json
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
import unittest

from sluice_cli import BINARY, DEMO, MIB, SANITIZED, TIMEOUT_S, CliTest, io_backends

STALLING_PREAD = os.environ.get("SLUICE_STALLING_PREAD", "")
# Slow enough for something to happen in the middle, on any machine.
SLOW = ("--compute", "float", "--threads", "1", "--temp", "0", "--ignore-eos", "-p", "Once upon a time", "-n", "60")
LINUX = sys.platform == "linux"
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, CAP_IPC_LOCK = 24, 38, 22, 14
SECCOMP_MODE_FILTER, EPERM, SYS_IO_URING_SETUP = 2, 1, 425


def lock_at_most(limit_bytes):
    """For a child: no more than so much locked memory, also as root."""

    def limit():
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0)
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit_bytes, limit_bytes))

    return limit


def forbid_uring():
    """For a child: io_uring_setup fails as it does under the filters of containers."""
    rules = ((0x20, 0, 0, 0), (0x15, 0, 1, SYS_IO_URING_SETUP), (0x06, 0, 0, 0x50000 | EPERM), (0x06, 0, 0, 0x7FFF0000))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(rules), ctypes.addressof(code)))
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) != 0:
        os._exit(77)


def file_size_at_most(limit_bytes):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    return limit


class FaultsTest(CliTest):
    def run_limited(self, limit, *arguments):
        command = [BINARY, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, check=False, timeout=TIMEOUT_S, preexec_fn=limit)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def copy_of_the_model(self):
        copy = self.folder / "copy.gguf"
        shutil.copy(DEMO, copy)
        return copy

    def story(self, model, *options):
        run = ("run", "-m", model, *SLOW, "--quiet", *options)
        return run if "mmap" in options else (*run, "--ram", self.floor_of(*run))

    def stopped_in_the_middle(self, *command):
        """A run that has begun its story, and what it has told; it stands still."""
        process = self.start(*command)
        begun = process.stdout.read(4)
        process.send_signal(signal.SIGSTOP)
        self.assertIsNone(process.poll())
        return process, begun

    def go_on(self, process, begun):
        process.send_signal(signal.SIGCONT)
        out, err = process.communicate(timeout=TIMEOUT_S)
        return process.returncode, (begun + out).decode(), err.decode()

    def test_a_file_that_is_cut_short_while_it_is_used_ends_the_run_by_name(self):
        for io in io_backends():
            copy = self.copy_of_the_model()
            process, begun = self.stopped_in_the_middle(*self.story(copy, "--io", io))
            os.truncate(copy, 3 * MIB)
            status, out, err = self.go_on(process, begun)
            self.assertEqual(status, 1, err)
            place = r"(layer \d+ expert \d+|trunk of layer \d+|output head): "
            self.assertRegex(err, rf"\Asluice: ({place})?read of {copy} stops at offset \d+ where data up to offset [^\n]+\n\Z")
            self.assertGreaterEqual(int(re.search(r"stops at offset (\d+)", err).group(1)), 3 * MIB)
            # What was told before stays told.
            self.assertTrue(out.startswith(begun.decode()))

    @unittest.skipIf(SANITIZED, "SKIP: sanitizers have a handler of their own")
    def test_a_mapped_file_that_is_cut_short_ends_the_run_by_name(self):
        copy = self.copy_of_the_model()
        process, begun = self.stopped_in_the_middle(*self.story(copy, "--io", "mmap"))
        os.truncate(copy, 3 * MIB)
        status, _, err = self.go_on(process, begun)
        self.assertEqual(status, 1, err)
        self.assertRegex(err, r"\Asluice: [^\n]*copy\.gguf cannot be read where it is mapped: [^\n]+\n\Z")

    def test_a_file_that_is_replaced_while_it_is_used_changes_nothing(self):
        for io in io_backends("mmap"):
            copy = self.copy_of_the_model()
            command = self.story(copy, "--io", io)
            expected = self.succeed(*command).out
            process, begun = self.stopped_in_the_middle(*command)
            os.replace(self.write("other", os.urandom(MIB)), copy)
            self.assertEqual(self.go_on(process, begun), (0, expected, ""))

    def stalled(self, *command):
        """A run in the middle of whose story the drive stalls, and the file that lets it go on when it is gone."""
        if not STALLING_PREAD or SANITIZED:
            self.skipTest("SKIP: no stalling drive in this build")
        stall = self.folder / "stall"
        stall.unlink(missing_ok=True)
        reached = self.folder / "stall.reached"
        reached.unlink(missing_ok=True)
        environment = {**os.environ, "LD_PRELOAD": STALLING_PREAD, "STALL_WHILE": str(stall)}
        process = self.start(*command, env=environment)
        begun = process.stdout.read(4)
        stall.touch()
        deadline = time.monotonic() + TIMEOUT_S
        while not reached.exists():
            self.assertIsNone(process.poll(), "the story ended before the drive stalled")
            self.assertLess(time.monotonic(), deadline)
        return process, begun, stall

    def test_a_drive_that_stalls_is_waited_for(self):
        command = self.story(DEMO, "--io", "pread")
        expected = self.succeed(*command).out
        process, begun, stall = self.stalled(*command)
        with self.assertRaises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        stall.unlink()
        out, err = process.communicate(timeout=TIMEOUT_S)
        self.assertEqual((process.returncode, (begun + out).decode(), err.decode()), (0, expected, ""))

    def test_an_interrupt_ends_a_run_whose_drive_stalls(self):
        trace = self.folder / "trace"
        for number in (signal.SIGINT, signal.SIGTERM):
            process, begun, _ = self.stalled(*self.story(DEMO, "--io", "pread", "--stats", "json", "--trace", trace))
            began = time.monotonic()
            process.send_signal(number)
            out, err = process.communicate(timeout=TIMEOUT_S)
            self.assertEqual(process.returncode, 130, err)
            self.assertLess(time.monotonic() - began, 10, "on an idle machine it takes a second")
            stats = json.loads(err.decode().splitlines()[-1])
            self.assertGreater(stats["generated_tokens"], 0)
            self.assertTrue((begun + out).endswith(b"\n"))
            # What was recorded until then is whole.
            tokens = trace.read_text().splitlines()[1:]
            self.assertEqual(len(tokens), stats["prompt_tokens"] + stats["generated_tokens"] - 1)
            trace.unlink()

    @unittest.skipUnless(LINUX, "SKIP: limits of Linux")
    def test_without_lockable_memory_the_text_is_the_same(self):
        run = ("run", "-m", DEMO, "-p", "Once", "-n", "40", "--temp", "0", "--ignore-eos", "--quiet", "--stats", "json")
        # The larger pool is more than may be locked.
        for budget in (self.floor_of(*run), 64 * MIB):
            free = self.succeed(*run, "--ram", budget)
            for limit_bytes in (0, 8 * MIB):
                status, out, err = self.run_limited(lock_at_most(limit_bytes), *run, "--ram", budget)
                self.assertEqual((status, out), (0, free.out), err)
                self.assertEqual(len(err.splitlines()), 1, err)
                # Some kernels count the ring itself as locked memory: then pread serves.
                if limit_bytes > 0:
                    self.assertEqual(json.loads(err)["io"], free.stats()["io"])

    @unittest.skipUnless(LINUX and os.uname().machine in ("x86_64", "aarch64"), "SKIP: filters of Linux")
    def test_where_io_uring_is_forbidden_the_text_is_the_same(self):
        run = ("run", "-m", DEMO, "-p", "Once", "-n", "20", "--temp", "0", "--quiet", "--stats", "json")
        free = self.succeed(*run)
        status, out, err = self.run_limited(forbid_uring, *run)
        if status == 77:
            self.skipTest("SKIP: no filter for system calls can be set here")
        self.assertEqual((status, out, json.loads(err)["io"]), (0, free.out, "pread"))
        status, out, err = self.run_limited(forbid_uring, *run, "--io", "uring")
        self.assertEqual((status, out), (1, ""))
        # A build without io_uring has no need to ask.
        said = r"io_uring is not available here: [^\n]+ --io pread or --io auto|this build reads without io_uring[^\n]+"
        self.assertRegex(err, rf"\Asluice: ({said})\n\Z")

    def fails_to_write(self, limit, name, *command):
        """One line that names the file, exit 1, and nothing but what was there before."""
        before = {entry.name: entry.read_bytes() for entry in self.folder.iterdir()}
        status, _, err = self.run_limited(limit, *command)
        self.assertEqual(status, 1, err)
        self.assertRegex(err, rf"\Asluice: cannot [a-z ]+ [^\n]*{name}[^\n]*: [^\n]+\n\Z")
        self.assertEqual({entry.name: entry.read_bytes() for entry in self.folder.iterdir()}, before)

    def test_what_cannot_be_written_whole_is_not_left_behind(self):
        limit = file_size_at_most(8192)
        ids = self.token_file([[1, 2, 3]])
        self.write("old.f32", "as it was")
        for output in ("new.f32", "old.f32"):
            command = ("logits", "-m", DEMO, "--tokens-file", ids, "-o", self.folder / output)
            self.fails_to_write(limit, output, *command)
        run = ("run", "-m", DEMO, "-p", "Once", "-n", "200", "--ignore-eos", "--quiet")
        self.fails_to_write(limit, "trace", *run, "--trace", self.folder / "trace")
        self.fails_to_write(limit, "m.gguf", "synth", "--shape", "tiny", "--layers", "1", "-o", self.folder / "m.gguf")

    def test_a_full_disk_leaves_nothing_behind(self):
        script = (
            'mount -t tmpfs -o size=32k none "$1" && shift && "$@"; code=$?; '
            '[ -z "$(ls -A "$FULL")" ] || exit 99; exit $code'
        )
        full = self.folder / "full"
        full.mkdir()
        wrapper = ("unshare", "--mount", "sh", "-c", script, "sh", full)
        environment = {**os.environ, "FULL": str(full)}
        probe = [*wrapper, "true"]
        if not shutil.which("unshare") or subprocess.run(probe, capture_output=True, env=environment, check=False).returncode:
            self.skipTest("SKIP: no disk of its own can be mounted here")
        ids = self.token_file([[*range(300, 400)]])
        for name, command in {
            "out.f32": ("logits", "-m", DEMO, "--tokens-file", ids, "--all-positions", "-o", full / "out.f32"),
            "trace": ("run", "-m", DEMO, "-p", "a", "-n", "400", "--ignore-eos", "--quiet", "--trace", full / "trace"),
            "m.gguf": ("synth", "--shape", "tiny", "--layers", "1", "-o", full / "m.gguf"),
        }.items():
            line = [*map(str, (*wrapper, BINARY, *command))]
            done = subprocess.run(line, capture_output=True, check=False, timeout=TIMEOUT_S, env=environment)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertRegex(done.stderr.decode(), rf"\Asluice: [^\n]*{name}[^\n]*\n\Z")


if __name__ == "__main__":
    unittest.main()
