"""sluice batch through the night: kills, interrupts, deadlines, full disks, other people's files. The same command goes
on, and every document has its one answer."""

import json
import random
import resource
import shutil
import signal
import subprocess
import time
import unittest

from batch_cli import WORDS, BatchTest, request, small_requests
from sluice_cli import BINARY, DEMO, TIMEOUT_S, sluice

# Slow enough for something to happen in the middle, on any machine.
SLOW = ("--compute", "float")


def slow_requests(count=6, tokens=120):
    return [request(f"r{i}", prompt="Once upon a time", max_tokens=tokens, ignore_eos=True, seed=i, logprobs=1) for i in range(count)]


def files_at_most(limit_bytes):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    return limit


class ResumeTest(BatchTest):
    def start_job(self, model, *options):
        """The job under way, with sweeps behind it."""
        command = [option for option in self.command(model, *options) if option != "--quiet"]
        process = self.start(*command, "--progress", "always", "--stats", "none")
        self.await_sweeps(process)
        return process

    def await_sweeps(self, process):
        line = ""
        while " documents, " not in line or "(now 0.0)" in line:
            line = process.stderr.readline().decode()
            self.assertTrue(line, "the job ended before it could be watched")

    def leave(self, model, *options):
        """A job in the middle of its work, killed."""
        process = self.start_job(model, *options)
        process.kill()
        process.wait()
        self.assertTrue((self.job_folder / "journal").exists())

    def finish(self, model, *options):
        self.batch(model, *options)
        return self.answers()


class KillTest(ResumeTest):
    def expected(self, model):
        return self.fresh(model, "--max-batch", "3")

    def kill_at_random(self, seed, kills, *options):
        numbers = random.Random(seed)
        model = self.tiny_model()
        self.ask(small_requests(60, longest=80))
        expected = self.expected(model)
        self.assertEqual(len(expected), 60)
        command = [BINARY, *map(str, self.command(model, "--max-batch", "8", *options))]
        began = time.monotonic()
        subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_S)
        whole_seconds = time.monotonic() - began
        self.output.unlink()
        killed = attempts = 0
        while attempts < kills or (killed == 0 and attempts < 10 * kills):
            attempts += 1
            process = subprocess.Popen(command, stderr=subprocess.PIPE)
            try:
                process.wait(timeout=numbers.uniform(0.02, 0.6) * whole_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                killed += 1
            _, err = process.communicate(timeout=TIMEOUT_S)
            self.assertIn(process.returncode, (0, -signal.SIGKILL), err)
            if killed == 0:  # faster than when it was timed: once more, and sooner
                self.output.unlink()
                whole_seconds /= 2
        self.assertGreater(killed, 0, "nothing was killed: the test shows nothing")
        self.assertEqual(self.finish(model, "--max-batch", "8", *options), expected)

    def test_killed_at_random_moments_a_job_gives_the_same_lines(self):
        self.kill_at_random(1, 10)

    def test_killed_with_its_cache_on_the_drive_a_job_gives_the_same_lines(self):
        self.kill_at_random(2, 10, "--spill", "always")

    def test_what_was_generated_before_a_kill_is_not_generated_again(self):
        self.ask(slow_requests(tokens=150))
        # The journal is synced after the first sweep, and every second.
        self.leave(DEMO, *SLOW)
        status = self.status(DEMO)
        self.assertEqual((status["documents"], status["in_flight"], status["running"]), (6, 6 - status["done"], False))
        self.assertGreater(status["in_flight_tokens"], 0)
        stats = self.batch(DEMO, *SLOW, "--stats", "json").stats()
        answers = self.answers()
        total = sum(answer["response"]["body"]["usage"]["completion_tokens"] for answer in answers.values())
        self.assertEqual(total, 6 * 150)
        self.assertLessEqual(stats["generated_tokens"], total - status["in_flight_tokens"] - status["generated_tokens"])


class SpillTest(ResumeTest):
    OPTIONS = (*SLOW, "--max-batch", "4", "--spill")

    def ask_for_some_short_answers(self):
        """Some answers are done long before the others, whose documents begin with several blocks."""
        numbers = random.Random(7)
        requests = slow_requests(8, tokens=150)
        for i, entry in enumerate(requests):
            words = " ".join(numbers.choice(WORDS) for _ in range(70 + 20 * i))
            entry["body"].update(prompt=words, **({"max_tokens": 3 + i} if i % 3 == 0 else {}))
        self.ask(requests)

    def await_answers(self, process, count):
        while self.status(DEMO)["done"] < count:
            self.assertIsNone(process.poll(), "the job ended before it could be stopped")

    def end_and_go_on(self, number, spill):
        process = self.start_job(DEMO, *self.OPTIONS, "always")
        self.await_answers(process, 2)
        process.send_signal(number)
        process.communicate(timeout=TIMEOUT_S)
        status = self.status(DEMO)
        self.assertLess(status["done"], 8)
        self.assertGreaterEqual(status["in_flight"], 3)
        stats = self.batch(DEMO, *self.OPTIONS, spill, "--stats", "json").stats()
        self.assertTrue(stats["kv_spilled"])
        return stats["positions_resumed"]

    def test_what_is_on_the_drive_is_used_though_documents_are_done_by_now(self):
        self.ask_for_some_short_answers()
        expected = self.fresh(DEMO, *SLOW)
        # Of two documents at least, two blocks of each.
        for number, spill in ((signal.SIGKILL, "always"), (signal.SIGINT, "auto")):
            self.output.unlink(missing_ok=True)
            self.assertGreaterEqual(self.end_and_go_on(number, spill), 2 * 2 * 32, number)
            self.assertEqual(self.answers(), expected)

    def test_a_job_without_its_spill_computes_what_was_in_it(self):
        self.ask_for_some_short_answers()
        process = self.start_job(DEMO, *self.OPTIONS, "always")
        self.await_answers(process, 2)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIMEOUT_S)
        (self.job_folder / "kv").unlink()
        stats = self.batch(DEMO, *self.OPTIONS, "always", "--stats", "json").stats()
        self.assertEqual(stats["positions_resumed"], 0)
        self.assertEqual(self.answers(), self.fresh(DEMO, *SLOW))


class InterruptTest(ResumeTest):
    def test_an_interrupt_ends_the_sweep_and_the_same_command_goes_on(self):
        self.ask(slow_requests(tokens=200))
        for number in (signal.SIGINT, signal.SIGTERM):
            process = self.start_job(DEMO, *SLOW)
            process.send_signal(number)
            _, err = process.communicate(timeout=TIMEOUT_S)
            self.assertEqual(process.returncode, 130, err)
            self.assertNotIn(b"sluice:", err)
            status = self.status(DEMO)
            self.assertEqual(status["running"], False)
            self.assertGreater(status["in_flight_tokens"], 0)
        answers = self.finish(DEMO, *SLOW)
        self.assertEqual(answers, self.fresh(DEMO, *SLOW, "--max-batch", "1"))

    def test_a_second_interrupt_ends_it_at_once(self):
        self.ask(slow_requests())
        process = self.start_job(DEMO, *SLOW)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TIMEOUT_S)
        self.assertEqual(process.returncode, 130)
        self.assertEqual(len(self.finish(DEMO, *SLOW)), 6)


class StatusTest(ResumeTest):
    def text(self, model):
        return self.succeed("batch", "-m", model, self.input, "-o", self.output, "--status").out

    def test_the_status_is_told_before_during_and_after_and_changes_nothing(self):
        self.ask([*slow_requests(), request("bad", prompt=5)])
        model = DEMO
        self.assertEqual(self.status(model), {"documents": 7, "done": 0, "errors": 0, "in_flight": 0, "in_flight_tokens": 0,
                                              "waiting": 7, "generated_tokens": 0, "running": False})  # fmt: skip
        self.assertFalse(self.output.exists() or self.job_folder.exists())
        process = self.start_job(model, *SLOW)
        status = self.status(model)
        self.assertTrue(status["running"])
        self.assertEqual((status["documents"], status["done"], status["errors"]), (7, 1, 1))
        self.assertIn("running", self.text(model))
        # The one that runs is not disturbed, and lets no other in.
        self.refused("another process", *self.command(model, *SLOW))
        self.assertIsNone(process.poll())
        process.kill()
        process.wait()
        self.assertFalse(self.status(model)["running"])
        self.assertIn("not running: the same command goes on", self.text(model))
        answers = self.finish(model, *SLOW)
        tokens = sum(answer["response"]["body"].get("usage", {}).get("completion_tokens", 0) for answer in answers.values())
        self.assertEqual(self.status(model), {"documents": 7, "done": 7, "errors": 1, "in_flight": 0, "in_flight_tokens": 0,
                                              "waiting": 0, "generated_tokens": tokens, "running": False})  # fmt: skip
        self.assertIn("7 of 7 documents done (1 errors", self.text(model))
        self.assertIn("finished", self.text(model))

    def test_the_status_of_another_jobs_output_is_refused(self):
        self.ask(small_requests(6))
        self.batch(self.tiny_model())
        self.ask(small_requests(3))
        self.fail_with(1, "-o", "batch", "-m", self.tiny_model(), self.input, "-o", self.output, "--status")


class RefusalTest(ResumeTest):
    def test_a_job_goes_on_with_what_it_was_begun_with_or_not_at_all(self):
        requests = slow_requests()
        self.ask(requests)
        self.leave(DEMO, "--max-tokens", "110", *SLOW)
        same = ("--max-tokens", "110", *SLOW)
        self.refused("--max-tokens", *self.command(DEMO, *SLOW))
        self.refused("--max-tokens", *self.command(DEMO, "--max-tokens", "111", *SLOW))
        self.refused("the kernel set", *self.command(DEMO, "--max-tokens", "110"))
        self.refused("--kv", *self.command(DEMO, *same, "--kv", "q8_0"))
        self.refused("the model", *self.command(self.tiny_model(), *same))
        self.ask([*requests, request("more", prompt="a")])
        self.refused("the input file", *self.command(DEMO, *same))
        self.refused("another -o", *self.command(DEMO, *same))
        self.ask(requests)
        answers = self.finish(DEMO, *same, "--max-batch", "2")
        self.assertEqual({answer["response"]["body"]["usage"]["completion_tokens"] for answer in answers.values()}, {110})

    def test_a_job_that_could_not_begin_binds_nobody(self):
        self.ask(small_requests(3))
        model = self.tiny_model()
        self.fail_with(1, "floor", *self.command(model, "--max-tokens", "5", ram="1M"))
        self.assertFalse(self.job_folder.exists())
        self.batch(model, "--max-tokens", "6")

    def test_an_output_of_another_input_is_refused(self):
        self.ask(small_requests(3))
        self.batch(self.tiny_model())
        self.ask([request("other", prompt="a", max_tokens=2)])
        self.refused("-o", *self.command(self.tiny_model()))

    def test_a_file_that_is_no_output_is_left_alone(self):
        self.ask(small_requests(3))
        line = json.dumps({"id": "batch_1", "custom_id": "r0", "response": None, "error": None})
        for content in ("my novel\n", "chapter one, unfinished", line + "\n", '{"a": 1}\n', self.input.read_text()):
            self.output.write_text(content)
            result = sluice(*self.command(self.tiny_model()))
            self.assertIn(result.status, (1, 2), result.err)
            self.assertRegex(result.err, r"\Asluice: [^\n]*-o[^\n]*\n\Z")
            self.assertEqual(self.output.read_text(), content)
            self.assertFalse(self.job_folder.exists(), content)

    def test_a_torn_line_is_answered_again(self):
        self.ask(small_requests(8))
        self.batch(self.tiny_model())
        whole, expected = self.output.read_bytes(), self.answers()
        last = whole.rstrip(b"\n").rindex(b"\n") + 1
        for cut in (last + 1, last + 100, len(whole) - 1):
            for tail in (b"", bytes(300)):
                self.output.write_bytes(whole[:cut] + tail)
                self.assertEqual(self.finish(self.tiny_model()), expected, cut)
                self.assertEqual(self.output.read_bytes()[:last], whole[:last])
        loud = [option for option in self.command(self.tiny_model()) if option != "--quiet"]
        self.output.write_bytes(whole[: last + 100])
        self.assertIn("cut 100 bytes that a crash left behind the last whole answer\n", self.succeed(*loud).err)
        self.assertNotIn("cut", self.succeed(*loud).err)

    def test_a_journal_that_is_damaged_is_refused_and_without_it_nothing_is_lost(self):
        self.ask(slow_requests())
        self.leave(DEMO, *SLOW)
        journal = self.job_folder / "journal"
        sound = journal.read_bytes()
        for damaged in (b"not a journal at all" * 20, sound[:40] + bytes([sound[40] ^ 1]) + sound[41:]):
            journal.write_bytes(damaged)
            self.refused(f"delete {self.job_folder}", *self.command(DEMO, *SLOW))
            self.assertEqual(journal.read_bytes(), damaged)
        shutil.rmtree(self.job_folder)
        self.assertEqual(self.finish(DEMO, *SLOW), self.fresh(DEMO, *SLOW, "--max-batch", "4"))


class DeadlineTest(ResumeTest):
    def test_what_a_deadline_leaves_is_finished_by_the_same_command(self):
        self.ask(slow_requests(tokens=150))
        result = sluice(*self.command(DEMO, *SLOW, "--deadline", "1s", "--max-batch", "2"))
        self.assertEqual(result.status, 1, result.err)
        self.assertRegex(result.err, r"\Asluice: the deadline left no time for \d+ documents; the same command goes on")
        self.assertTrue((self.job_folder / "journal").exists())
        status = self.status(DEMO)
        self.assertLess(status["done"], 6)
        self.assertFalse(status["running"])
        self.assertEqual(len(self.finish(DEMO, *SLOW)), 6)

    def test_a_deadline_that_is_over_lets_nothing_begin(self):
        self.ask(small_requests(3))
        result = sluice(*self.command(self.tiny_model(), "--deadline", "0.000001s"))
        self.assertEqual(result.status, 1, result.err)
        self.assertEqual(self.output.read_bytes(), b"")
        self.assertEqual(len(self.finish(self.tiny_model())), 3)

    def test_a_deadline_that_is_far_changes_nothing(self):
        self.ask(small_requests(8))
        self.batch(self.tiny_model(), "--deadline", "8h")
        self.assertEqual(self.answers(), self.fresh(self.tiny_model()))


class FullDiskTest(ResumeTest):
    def test_files_that_may_not_grow_end_the_job_and_it_goes_on_later(self):
        self.ask(small_requests(30, longest=80))
        model = self.tiny_model()
        expected = self.fresh(model)
        ends = 0
        for limit_bytes in (300, 4000, 20000):
            status, _, err = self.limited(files_at_most(limit_bytes), *self.command(model, "--max-batch", "4"))
            self.assertIn(status, (0, 1), err)
            if status == 1:
                ends += 1
                self.assertRegex(err, rf"\Asluice: [^\n]*{self.output.name}[^\n]*\n\Z")
        self.assertGreaterEqual(ends, 2, "no disk was full: the test shows nothing")
        self.assertEqual(self.finish(model), expected)

    def test_a_spill_that_has_no_room_is_told(self):
        self.ask(small_requests(6, longest=80))
        model = self.tiny_model()
        expected = self.fresh(model)
        status, _, err = self.limited(files_at_most(50000), *self.command(model, "--spill", "always"))
        self.assertEqual(status, 1, err)
        self.assertRegex(err, r"\Asluice: [^\n]*out\.jsonl\.job/kv[^\n]*\n\Z")
        self.assertEqual(self.finish(model, "--spill", "always"), expected)


if __name__ == "__main__":
    unittest.main()
