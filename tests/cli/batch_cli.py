"""What the tests of `sluice batch` share: jobs, their answers, and what of them must be the same however they ran."""

import json
import random
import subprocess

from gguf_writer import write_model
from sluice_cli import BINARY, TIMEOUT_S, CliTest

WORDS = "the king queen dog cat little old house forest sea moon road once upon a time there was and she said".split()
BUDGET = "64M"


def request(custom_id, url="/v1/completions", **body):
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


def small_requests(count, **options):
    """For the tiny model, whose tokens are bytes."""
    return mixed_requests(count, shared_words=20, **options)


def mixed_requests(count, seed=5, longest=40, shared_words=80):
    """Documents of all kinds: greedy and not, with and without logprobs and stop strings, some with a common beginning
    of several blocks; every fifth is an error."""
    numbers = random.Random(seed)
    beginning = " ".join(numbers.choice(WORDS) for _ in range(shared_words))
    requests = []
    for i in range(count):
        words = " ".join(numbers.choice(WORDS) for _ in range(numbers.randint(1, 40)))
        body = {
            "prompt": f"{beginning} {words}" if i % 3 == 0 else words,
            "max_tokens": numbers.randint(1, longest),
            "temperature": numbers.choice([0, 0.7, 1.0]),
            "seed": i,
            "logprobs": numbers.choice([None, 0, 3]),
        }
        if i % 7 == 0:
            body["stop"] = [" he", "e", " king"]
        if i % 5 == 4:
            body["max_tokens"] = -1
        requests.append(request(f"r{i}", **body))
    return requests


class BatchTest(CliTest):
    """A job in a folder of its own."""

    def setUp(self):
        super().setUp()
        self.input, self.output = self.folder / "in.jsonl", self.folder / "out.jsonl"
        self.job_folder = self.folder / "out.jsonl.job"

    def tiny_model(self, **changes):
        path = self.folder / "tiny.gguf"
        return path if path.exists() else write_model(path, **{"context": 512, **changes})

    def ask(self, requests):
        """Writes the input; texts stand for themselves."""
        lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in requests]
        self.input.write_text("".join(line + "\n" for line in lines))
        return self.input

    def command(self, model, *options, output=None, ram=BUDGET):
        target = output or self.output
        threads = () if "--threads" in options else ("--threads", "1")
        return ("batch", "-m", model, self.input, "-o", target, "--ram", ram, "--quiet", *threads, *options)

    def batch(self, model, *options, **where):
        """Runs the job to its end."""
        result = self.succeed(*self.command(model, *options, **where))
        self.assertFalse(self.job_folder.exists() and where.get("output") is None, "the job's folder is left behind")
        return result

    def answers(self, output=None):
        """Lines by custom_id, without what may differ between runs; each once."""
        found = {}
        for line in (output or self.output).read_text().splitlines():
            answer = json.loads(line)
            self.assertNotIn(answer["custom_id"], found)
            answer.pop("id")
            answer["response"].pop("request_id")
            answer["response"]["body"].pop("id", None)
            answer["response"]["body"].pop("created", None)
            found[answer["custom_id"]] = answer
        return found

    def fresh(self, model, *options, **where):
        """The answers of the job begun anew, beside the one of this test."""
        output = self.folder / "fresh.jsonl"
        output.unlink(missing_ok=True)
        self.batch(model, *options, output=output, **where)
        self.assertFalse((self.folder / "fresh.jsonl.job").exists())
        return self.answers(output)

    def status(self, model, *options):
        result = self.succeed("batch", "-m", model, self.input, "-o", self.output, "--status", "--json", *options)
        return result.json()

    def refused(self, needle, *command, status=1):
        """The command fails with that, and the output is as it was."""
        before = self.output.read_bytes() if self.output.exists() else None
        self.fail_with(status, needle, *command)
        self.assertEqual(self.output.read_bytes() if self.output.exists() else None, before)

    def limited(self, limit, *command):
        done = subprocess.run(
            [BINARY, *map(str, command)], capture_output=True, check=False, timeout=TIMEOUT_S, preexec_fn=limit
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()
