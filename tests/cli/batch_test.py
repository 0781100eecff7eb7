"""sluice batch: requests in, answers out, the same for every document whatever it shares its sweeps with."""

import json
import struct
import unittest

from batch_cli import BatchTest, mixed_requests, request, small_requests
from gguf_writer import write_model
from sluice_cli import DEMO, MIB, SANITIZED, STATS_FIELDS, shared

PROMPT = "Once upon a time"


def chat_template():
    """The one template that is understood, out of the vocabulary that has it."""
    raw = shared("tokenizers/deepseek-v3/vocab.gguf").read_bytes()
    at = raw.index(b"tokenizer.chat_template") + len(b"tokenizer.chat_template")
    kind, length = struct.unpack_from("<IQ", raw, at)
    assert kind == 8
    return raw[at + 12 : at + 12 + length]


class AnswersTest(BatchTest):
    def choice(self, answers, custom_id):
        answer = answers[custom_id]
        self.assertIsNone(answer["error"], answer)
        self.assertEqual(answer["response"]["status_code"], 200)
        return answer["response"]["body"]["choices"][0]

    def error(self, answers, custom_id):
        answer = answers[custom_id]
        self.assertEqual(answer["response"]["status_code"], 400)
        error = answer["response"]["body"]["error"]
        self.assertEqual(answer["error"]["message"], error["message"])
        self.assertEqual(sorted(error), ["code", "message", "param", "type"])
        return error

    def test_answers_are_what_run_generates(self):
        ids = self.demo_ids(PROMPT)
        self.ask(
            [
                request("greedy", prompt=PROMPT, max_tokens=20, temperature=0),
                request("tokens", prompt=ids, max_tokens=20, temperature=0),
                request("seeded", prompt=PROMPT, max_tokens=20, seed=7),
                request("cooler", prompt=PROMPT, max_tokens=20, seed=8, temperature=0.5, top_p=0.9),
            ]
        )
        self.batch(DEMO)
        answers = self.answers()
        run = ("run", "-m", DEMO, "--raw", "-p", PROMPT, "-n", "20", "--quiet", "--threads", "1")
        for custom_id, options in {
            "greedy": ("--temp", "0"),
            "tokens": ("--temp", "0"),
            "seeded": ("--temp", "1", "--seed", "7"),
            "cooler": ("--temp", "0.5", "--top-p", "0.9", "--seed", "8"),
        }.items():
            text = self.choice(answers, custom_id)["text"]
            self.assertEqual(text + "\n", self.succeed(*run, *options).out, custom_id)
            generated = self.succeed(*run, *options, "--print-ids").json()["ids"]
            usage = answers[custom_id]["response"]["body"]["usage"]
            self.assertEqual(usage["completion_tokens"], len(generated))
            self.assertEqual(usage["prompt_tokens"], len(ids))
            self.assertEqual(usage["total_tokens"], len(ids) + len(generated))

    def test_a_seed_that_is_not_given_is_drawn(self):
        self.ask([request(f"r{i}", prompt=PROMPT, max_tokens=20) for i in range(4)])
        self.batch(DEMO)
        self.assertGreater(len({self.choice(self.answers(), f"r{i}")["text"] for i in range(4)}), 1)

    def test_lengths_stop_strings_and_end_tokens_end_answers(self):
        model = self.tiny_model()
        full = {"prompt": "the", "temperature": 0, "ignore_eos": True}
        self.ask([request("long", **full, max_tokens=30), request("default", **full)])
        self.batch(model)
        answers = self.answers()
        text = self.choice(answers, "long")["text"]
        self.assertEqual(self.choice(answers, "long")["finish_reason"], "length")
        self.assertEqual(answers["long"]["response"]["body"]["usage"]["completion_tokens"], 30)
        # 1024 tokens would be beyond the context of 512, of which BOS and prompt take three.
        usage = answers["default"]["response"]["body"]["usage"]
        self.assertEqual((usage["prompt_tokens"], usage["completion_tokens"]), (3, 509))

        ids = self.succeed("run", "-m", model, "--raw", "-p", "the", "-n", "30", "--temp", "0", "--ignore-eos", "--print-ids").json()["ids"]
        stop = next(c for c in text[5:] if c != "\ufffd")
        ending = write_model(self.folder / "ending.gguf", context=512, keys={"tokenizer.ggml.eos_token_id": ids[7]})
        ends_at = ids.index(ids[7]) + 1
        self.ask(
            [
                request("stop", **full, max_tokens=30, stop=stop),
                request("eos", prompt="the", temperature=0, max_tokens=30),
                request("ignored", **full, max_tokens=30),
            ]
        )
        answers = self.fresh(ending)
        self.assertEqual(self.choice(answers, "stop")["text"], text[: text.index(stop)])
        self.assertEqual(self.choice(answers, "stop")["finish_reason"], "stop")
        self.assertEqual(self.choice(answers, "eos")["finish_reason"], "stop")
        self.assertEqual(answers["eos"]["response"]["body"]["usage"]["completion_tokens"], ends_at)
        self.assertEqual(answers["ignored"]["response"]["body"]["usage"]["completion_tokens"], 30)

    def test_the_commands_max_tokens_bounds_every_answer(self):
        self.ask([request(f"r{asked}", prompt="a", ignore_eos=True, **({"max_tokens": asked} if asked else {})) for asked in (0, 3, 9)])
        self.batch(self.tiny_model(), "--max-tokens", "5")
        lengths = {key: value["response"]["body"]["usage"]["completion_tokens"] for key, value in self.answers().items()}
        self.assertEqual(lengths, {"r0": 5, "r3": 3, "r9": 5})

    def test_conversations_are_rendered_with_the_models_template(self):
        model = self.tiny_model(keys={"tokenizer.chat_template": chat_template()})
        messages = [{"role": "user", "content": "Why?"}]
        self.ask(
            [
                request("chat", "/v1/chat/completions", messages=messages, max_completion_tokens=12, temperature=0, logprobs=True, top_logprobs=2),
                request("odd", "/v1/chat/completions", messages=[{"role": "user"}]),
            ]
        )
        self.batch(model)
        answers = self.answers()
        choice = self.choice(answers, "chat")
        run = self.succeed("run", "-m", model, "-p", "Why?", "-n", "12", "--temp", "0", "--quiet").out
        self.assertEqual(choice["message"], {"role": "assistant", "content": run[:-1]})
        self.assertEqual(answers["chat"]["response"]["body"]["object"], "chat.completion")
        self.assertEqual(len(choice["logprobs"]["content"]), answers["chat"]["response"]["body"]["usage"]["completion_tokens"])
        self.assertEqual({len(entry["top_logprobs"]) for entry in choice["logprobs"]["content"]}, {2})
        self.assertEqual(self.error(answers, "odd")["param"], "messages")

    def test_conversations_without_a_template_are_error_lines(self):
        self.ask([request("chat", "/v1/chat/completions", messages=[{"role": "user", "content": "Why?"}]), request("text", prompt="a", max_tokens=2)])
        self.batch(self.tiny_model())
        self.assertIn("/v1/completions", self.error(self.answers(), "chat")["message"])
        self.choice(self.answers(), "text")

    def test_what_cannot_be_served_is_an_error_line_and_never_a_lost_job(self):
        bad = {
            "url": request("url", "/v1/embeddings", prompt="a"),
            "n": request("n", prompt="a", n=2),
            "long": request("long", prompt="a" * 600),
            "greedy": request("greedy", prompt="a", max_tokens=100000),
            "negative": request("negative", prompt="a", max_tokens=-3),
            "type": request("type", prompt={"a": 1}),
            "temperature": request("temperature", prompt="a", temperature="hot"),
            "token": request("token", prompt=[1, 99999]),
            "empty": request("empty", prompt=[]),
            "method": {**request("method", prompt="a"), "method": "GET"},
            "body": {"custom_id": "body", "method": "POST", "url": "/v1/completions"},
        }
        good = [request("good", prompt="a", max_tokens=2), request("last", prompt="b", max_tokens=2)]
        self.ask([good[0], *bad.values(), "no json", '{"custom_id": ', "[1, 2]", good[1]])
        result = self.batch(self.tiny_model(), "--stats", "json")
        lines = [json.loads(line) for line in self.output.read_text().splitlines()]
        self.assertEqual(len(lines), len(bad) + 5)
        nameless = [line for line in lines if line["custom_id"] is None]
        self.assertEqual(len(nameless), 3)
        for line in lines:
            if line["custom_id"] not in ("good", "last"):
                self.error({"": line}, "")
        self.assertEqual((result.stats()["documents"], result.stats()["errors"]), (len(lines), len(bad) + 3))
        # Doubled ids and ids of the lines tell which answer is whose.
        self.assertEqual(len({line["id"] for line in lines}), len(lines))

    def test_a_custom_id_that_comes_twice_is_answered_once(self):
        self.ask([request("a", prompt="a", max_tokens=2), request("b", prompt="a", max_tokens=2), request("a", prompt="b", max_tokens=2)])
        self.batch(self.tiny_model())
        lines = [json.loads(line) for line in self.output.read_text().splitlines()]
        codes = sorted((line["custom_id"], line["error"]["code"] if line["error"] else "") for line in lines)
        self.assertEqual(codes, [("a", ""), ("a", "duplicate_custom_id"), ("b", "")])

    def test_blank_lines_and_other_line_ends_are_nothing(self):
        requests = [json.dumps(request(f"r{i}", prompt="a", max_tokens=2, seed=1)) for i in range(3)]
        self.ask(requests)
        self.batch(self.tiny_model())
        expected = self.answers()
        for content in ("\ufeff" + "\r\n".join(requests), "\n\n" + "\n \t\n".join(requests), "\n".join(requests)):
            self.input.write_text(content)
            self.assertEqual(self.fresh(self.tiny_model()), expected)

    def test_an_empty_input_is_an_empty_job(self):
        for content in ("", "\n \n"):
            self.input.write_text(content)
            self.batch(self.tiny_model())
            self.assertEqual(self.output.read_bytes(), b"")

    def test_a_job_that_is_done_stays_as_it_is(self):
        self.ask(small_requests(4))
        self.batch(self.tiny_model())
        before = self.output.read_bytes()
        self.batch(self.tiny_model())
        self.assertEqual(self.output.read_bytes(), before)

    def test_answers_are_lines_of_their_own_in_a_file_that_was_there(self):
        self.output.touch()
        self.ask(small_requests(3))
        self.batch(self.tiny_model())
        self.assertEqual(len(self.answers()), 3)

    def test_the_statistics_hold_the_fields_of_the_contract(self):
        requests = mixed_requests(12)
        self.ask(requests)
        stats = self.batch(DEMO, "--stats", "json").stats()
        fields = "documents errors sweeps rows tokens_per_minute prompt_tokens_per_minute bytes_per_token".split()
        self.assertEqual([field for field in [*STATS_FIELDS, *fields] if field not in stats], [])
        bodies = [answer["response"]["body"] for answer in self.answers().values()]
        usages = [body["usage"] for body in bodies if "usage" in body]
        self.assertEqual(stats["documents"], 12)
        self.assertEqual(stats["errors"], 12 - len(usages))
        self.assertEqual(stats["generated_tokens"], sum(usage["completion_tokens"] for usage in usages))
        prompts = sum(usage["prompt_tokens"] for usage in usages)
        self.assertEqual(stats["prompt_tokens"] + stats["prompt_tokens_shared"], prompts)
        self.assertGreater(stats["prompt_tokens_shared"], 64, "no prefix was shared: the test shows nothing")
        # The first token of an answer comes with its prompt.
        self.assertEqual(stats["rows"], stats["prompt_tokens"] + stats["generated_tokens"] - len(usages))
        self.assertGreater(stats["sweeps"], 0)
        self.assertGreater(stats["tokens_per_minute"], 0)
        self.assertGreater(stats["prompt_tokens_per_minute"], 0)
        self.assertEqual(stats["bytes_read"], stats["bytes_read_prompt"] + stats["bytes_read_generate"])
        in_sweeps = stats["bytes_per_token"] * stats["generated_tokens"]
        self.assertAlmostEqual(in_sweeps, stats["bytes_read_generate"], delta=1e-6 * in_sweeps + 1)

    def test_a_summary_is_for_people_and_quiet_leaves_it_out(self):
        self.ask(small_requests(3))
        loud = [option for option in self.command(self.tiny_model()) if option != "--quiet"]
        text = self.succeed(*loud).err
        self.assertIn("3 documents (0 errors)", text)
        self.assertIn("tokens/min", text)
        self.output.unlink()
        self.assertEqual(self.batch(self.tiny_model()).err, "")

    def test_bad_usage_is_told_as_such(self):
        self.ask(small_requests(1))
        model = self.tiny_model()
        bad = (("--deadline", "8"), ("--deadline", "24:00"), ("--deadline", "-3h"), ("--max-batch", "0"), ("--max-tokens", "0"), ("--spill", "maybe"))
        for options in bad:
            self.refused("", *self.command(model, *options), status=2)
            self.assertFalse(self.job_folder.exists(), options)
        self.fail_with(2, "", "batch", "-m", model, self.input)
        self.fail_with(1, "nothing.jsonl", "batch", "-m", model, self.folder / "nothing.jsonl", "-o", self.output)
        self.fail_with(1, "standard input", "batch", "-m", model, "-", "-o", self.output)
        self.fail_with(1, "nowhere", *self.command(model, output=self.folder / "nowhere" / "out.jsonl"))


class IdentityTest(BatchTest):
    """Each document's tokens, and numbers, are the same whatever the conditions."""

    def check(self, model, requests, conditions):
        self.ask(requests)
        self.batch(model, "--max-batch", "1")
        alone = self.answers()
        self.assertEqual(len(alone), len(requests))
        for options in conditions:
            ram = options.get("ram", "64M")
            self.assertEqual(self.fresh(model, *options.get("options", ()), ram=ram), alone, options)
        return alone

    def test_the_demonstration_model_answers_the_same_under_all_conditions(self):
        requests = mixed_requests(24, longest=24)
        floor = self.floor_of("run", "-m", DEMO, "-p", "a", "-n", "1")
        conditions = [{"options": ("--max-batch", batch, *more)} for batch, more in (
            ("2", ()),
            ("16", ()),
            ("64", ()),
            ("64", ("--prompt-chunk", "7")),
            ("16", ("--spill", "always")),
            ("3", ("--spill", "always", "--prompt-chunk", "33")),
            ("64", ("--threads", "2")),
            ("8", ("--io", "pread", "--spill", "never")),
        )]  # fmt: skip
        conditions.append({"options": ("--max-batch", "64"), "ram": floor + 4 * MIB})
        alone = self.check(DEMO, requests, conditions)
        told = [answer for answer in alone.values() if not answer["error"] and answer["response"]["body"]["choices"][0]["logprobs"]]
        self.assertGreater(len(told), 5, "no numbers were compared: the test shows nothing")
        self.ask(reversed(requests))
        self.assertEqual(self.fresh(DEMO, "--max-batch", "16"), alone)

    def test_a_small_budget_streams_and_a_spill_spills(self):
        """What the conditions above are about does happen."""
        requests = mixed_requests(12, longest=24)
        self.ask(requests)
        floor = self.floor_of("run", "-m", DEMO, "-p", "a", "-n", "1")
        roomy = self.succeed(*self.command(DEMO, "--stats", "json")).stats()
        output = self.folder / "small.jsonl"
        small = self.succeed(*self.command(DEMO, "--stats", "json", output=output, ram=floor + 4 * MIB)).stats()
        self.assertGreater(small["bytes_read"], 2 * roomy["bytes_read"])
        output = self.folder / "spilled.jsonl"
        spilled = self.succeed(*self.command(DEMO, "--stats", "json", "--spill", "always", output=output)).stats()
        self.assertTrue(spilled["kv_spilled"])
        self.assertGreater(spilled["bytes_written"], 0)
        self.assertEqual(roomy["bytes_written"], 0)

    def test_a_tiny_model_with_a_quantised_cache_answers_the_same(self):
        conditions = [{"options": (*more, "--kv", "q8_0")} for more in ((), ("--spill", "always"), ("--prompt-chunk", "5"))]
        self.ask(small_requests(10))
        model = self.tiny_model()
        self.batch(model, "--max-batch", "1", "--kv", "q8_0")
        for condition in conditions:
            self.assertEqual(self.fresh(model, *condition["options"]), self.answers(), condition)
        self.assertNotEqual(self.fresh(model), self.answers())


@unittest.skipIf(SANITIZED, "SKIP: memory under a sanitizer says nothing")
class MemoryTest(BatchTest):
    def test_the_peak_is_within_the_budget_at_every_batch(self):
        requests = [request(f"r{i}", prompt=PROMPT, max_tokens=100, ignore_eos=True, seed=i, logprobs=20) for i in range(64)]
        self.ask(requests)
        floor = self.floor_of("run", "-m", DEMO, "-p", "a", "-n", "1")
        for batch in ("1", "8", "64"):
            for ram in (floor + 6 * MIB, 64 * MIB):
                self.output.unlink(missing_ok=True)
                stats = self.batch(DEMO, "--max-batch", batch, "--stats", "json", ram=ram).stats()
                self.assertEqual(stats["ram_budget_bytes"], ram)
                self.assertLessEqual(stats["peak_rss_bytes"], ram, (batch, ram))

    def test_documents_that_never_fit_the_budget_are_error_lines(self):
        model = self.tiny_model(context=1 << 20)
        self.ask([request("fits", prompt="a", max_tokens=20), request("never", prompt="a", max_tokens=1 << 19)])
        self.batch(model, ram="16M")
        answers = self.answers()
        self.assertIsNone(answers["fits"]["error"])
        self.assertEqual(answers["never"]["error"]["code"], "kv_budget_exceeded")
        self.assertIn("--ram", answers["never"]["error"]["message"])


if __name__ == "__main__":
    unittest.main()
