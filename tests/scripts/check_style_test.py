"""Every rule of scripts/check_style.py can fail, and stays quiet about what it allows."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import check_style  # noqa: E402
import cpp_source  # noqa: E402

ALL_RULES = list(check_style.RULES) + ["median"]
MARKS = ["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]


def guarded(name, body):
    guard = "SLUICE_" + name.upper().replace("/", "_").replace(".", "_") + "_"
    return f"// A header.\n#ifndef {guard}\n#define {guard}\n{body}\n#endif  // {guard}\n"


def broken_rules(files, rules=None):
    """The set of (file, line, rule) that a tree of these files breaks."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        broken, _ = check_style.run(root, rules or ALL_RULES)
    out = set()
    for text in broken:
        where, rest = text.split(": [", 1)
        name, line = where.rsplit(":", 1)
        out.add((name, int(line), rest.split("]")[0]))
    return out


class RulesTest(unittest.TestCase):
    def expect_only(self, rule, name, content, line=1):
        self.assertEqual(broken_rules({name: content}), {(name, line, rule)})

    def expect_clean(self, name, content):
        self.assertEqual(broken_rules({name: content}), set())

    def test_a_small_tidy_tree_breaks_nothing(self):
        files = {
            "base/a.h": guarded("base/a.h", "int F();"),
            "storage/b.cc": '#include <vector>\n#include "absl/strings/str_cat.h"\n#include "base/a.h"\nint G() { return 1; }\n',
            "src/cli/main.cc": "#include <iostream>\nint main() { std::cout << 1; }\n",
            "tests/base/a_test.cc": '#include "base/a.h"\n#include "storage/b.h"\n#include "compute/c.h"\n',
            "README.md": "Plain words.\n",
        }
        self.assertEqual(broken_rules(files), set())

    def test_files_have_at_most_600_lines(self):
        for name in ["base/a.cc", "scripts/a.py"]:
            self.expect_clean(name, "\n" * 600)
            self.expect_only("file-size", name, "\n" * 601)
        self.expect_clean("docs/long.md", "\n" * 5000)

    def test_shell_scripts_have_at_most_300_lines(self):
        self.expect_clean("scripts/a", "#!/usr/bin/env bash" + "\n" * 300)
        self.expect_only("file-size", "scripts/a", "#!/usr/bin/env bash" + "\n" * 301)

    def test_files_have_at_most_two_mebibytes(self):
        self.expect_clean("demo/storyteller-q4_k_m.gguf", b"\0" * ((2 << 20) + 1))
        self.expect_only("file-size", "demo/other.gguf", b"\0" * ((2 << 20) + 1))

    def test_functions_have_at_most_70_lines(self):
        fits = "void F() {\n" + "  G();\n" * 68 + "}\n"
        long = "\nvoid F() {\n" + "  G();\n" * 69 + "}\n"
        self.assertEqual(broken_rules({"base/a.cc": fits}, ["function-size"]), set())
        self.assertEqual(broken_rules({"base/a.cc": long}, ["function-size"]), {("base/a.cc", 2, "function-size")})
        self.expect_clean("scripts/a.py", "def f():\n" + "    g()\n" * 69)
        self.expect_only("function-size", "scripts/a.py", "def f():\n" + "    g()\n" * 70)

    def test_a_file_whose_braces_do_not_match_is_reported(self):
        self.expect_only("function-size", "base/a.cc", "void F() {\n")
        self.expect_only("function-size", "base/a.cc", "}\n")

    def test_half_of_the_functions_are_shorter_than_ten_lines(self):
        long = "void F() {\n" + "  G();\n" * 8 + "}\n"
        self.assertEqual(broken_rules({"base/a.cc": long}), {("tree", 1, "median")})
        self.expect_clean("base/a.cc", long + "void G() {}\n")
        self.expect_clean("tests/a_test.cc", long)

    def test_includes_go_one_way(self):
        wrong = [
            ("base", "storage"), ("base", "src"), ("storage", "compute"), ("compute", "storage"), ("storage", "prefetch"),
            ("compute", "src"), ("storage", "src"), ("prefetch", "src"), ("src", "tests"), ("src", "bench"),
        ]  # fmt: skip
        for folder, target in wrong:
            with self.subTest(folder=folder, target=target):
                self.expect_only("layering", f"{folder}/a.cc", f'#include <vector>\n#include "{target}/b.h"\n', 2)
        right = [("storage", "base"), ("compute", "base"), ("prefetch", "compute"), ("src", "prefetch"), ("bench", "src")]
        for folder, target in right:
            with self.subTest(folder=folder, target=target):
                self.expect_clean(f"{folder}/a.cc", f'#include "{target}/b.h"\n')

    def test_includes_are_relative_to_the_root(self):
        self.expect_only("layering", "base/a.cc", '#include "b.h"\n')
        self.expect_only("layering", "base/a.cc", '#include "../storage/b.h"\n')
        self.expect_only("layering", "src/cli/a.cc", '#include "cli/b.h"\n')
        self.expect_only("layering", "base/a.cc", "#include <base/b.h>\n")
        self.expect_clean("base/a.cc", '// #include "b.h"\n')
        self.expect_clean("base/a.cc", '#include "absl/status/status.h"\n#include "nlohmann/json.hpp"\n')

    def test_include_guards_carry_the_path(self):
        self.expect_clean("src/text/a.h", guarded("src/text/a.h", "int x;"))
        self.expect_only("include-guard", "src/text/a.h", guarded("text/a.h", "int x;"))
        self.expect_only("include-guard", "src/text/a.h", "#pragma once\n")
        self.expect_only("include-guard", "base/a.h", guarded("base/a.h", "int x;").replace("#endif  //", "#endif //"))

    def test_linux_headers_stay_in_storage_linux_files(self):
        for header in ["linux/io_uring.h", "sys/eventfd.h", "sys/syscall.h", "sys/statfs.h", "liburing.h", "sys/prctl.h"]:
            with self.subTest(header=header):
                self.expect_only("portability", "storage/a.cc", f"#include <{header}>\n")
                self.expect_only("portability", "src/a_linux.cc", f"#include <{header}>\n")
                self.expect_clean("storage/a_linux.cc", f"#include <{header}>\n")
        self.expect_clean("storage/a.cc", "#include <sys/stat.h>\n#include <sys/mman.h>\n#include <unistd.h>\n")

    def test_linux_calls_stand_inside_an_if(self):
        self.expect_only("portability", "storage/a.cc", "int x = O_DIRECT;\n")
        self.expect_clean("storage/a.cc", "#ifdef O_DIRECT\nint x = O_DIRECT;\n#endif\n")
        self.expect_only("portability", "storage/a.cc", "#ifdef O_DIRECT\n#endif\nint x = O_DIRECT;\n", 3)
        self.expect_clean("storage/a.cc", "// O_DIRECT is spoken about here\n")
        self.expect_clean("storage/a_linux.cc", "int x = O_DIRECT;\n")

    def test_paths_of_a_developers_machine_are_refused(self):
        for path in ["/ro" + "ot/x", "/wo" + "rk/x", "/ho" + "me/somebody/x"]:
            self.expect_only("privacy", "docs/a.md", f"\nsee {path}\n", 2)
        self.expect_clean("docs/a.md", "see ../work/x, ~/work/x and https://example.org/home/x\n")

    def test_open_ends_are_refused_everywhere(self):
        for mark in MARKS:
            self.expect_only("open-ends", "docs/a.md", f"{mark}: later\n")
            self.expect_only("open-ends", "base/a.cc", f"// {mark}(me): later\n")
        self.expect_clean("base/a.cc", "// IQ2_XXS blocks\n")

    def test_libraries_do_not_read_the_environment(self):
        for call in ["getenv", "std::getenv", "setenv", "putenv"]:
            self.expect_only("environment", "src/engine/a.cc", f'auto x = {call}("X");\n')
        self.expect_clean("tests/a_test.cc", 'auto x = getenv("X");\n')
        self.expect_clean("base/a.cc", '// getenv\nconst char* x = "getenv";\n')

    def test_libraries_do_not_print(self):
        for code in ["std::cout << 1;", "std::cerr << 1;", 'std::printf("x");', 'fprintf(f, "x");', 'puts("x");']:
            with self.subTest(code=code):
                self.expect_only("printing", "src/engine/a.cc", f"void F() {{ {code} }}\n")
                self.expect_clean("src/cli/a.cc", f"void F() {{ {code} }}\n")
        self.expect_clean("base/a.cc", 'void F() { std::snprintf(b, 4, "x"); }\n')

    def test_libraries_do_not_end_the_process_or_throw(self):
        self.expect_only("exit", "storage/a.cc", "void F() { std::exit(1); }\n")
        self.expect_only("exit", "storage/a.cc", "void F() { abort(); }\n")
        self.expect_only("exceptions", "storage/a.cc", "void F() { throw 1; }\n")
        self.expect_clean("storage/a.cc", "void F() { OnExit(1); }\n")

    def test_iostream_is_for_the_command_line_and_tests(self):
        self.expect_only("iostream", "bench/a.cc", "#include <iostream>\n")
        self.expect_only("iostream", "src/model/a.cc", "#include <iostream>\n")
        self.expect_clean("tests/a_test.cc", "#include <iostream>\n")

    def test_locks_come_from_the_wrapper(self):
        for code in ["std::mutex m;", "std::shared_mutex m;", "absl::Mutex m;", "std::condition_variable c;"]:
            self.expect_only("mutex", "storage/a.cc", code + "\n")
        self.expect_only("mutex", "tests/a_test.cc", "void F() { std::lock_guard<M> l(m); }\n")
        self.expect_clean("base/mutex.h", guarded("base/mutex.h", "std::mutex m;"))

    def test_tests_do_not_sleep(self):
        for call in ["std::this_thread::sleep_for(s)", "usleep(1)", "nanosleep(&t, nullptr)", "sleep(1)"]:
            self.expect_only("sleep", "tests/a_test.cc", f"void F() {{ {call}; }}\n")
        self.expect_clean("tests/a_test.cc", "// sleep(1)\nvoid F() { Asleep(1); }\n")

    def test_fast_math_is_refused(self):
        flag = "-ffast-" + "math"
        self.expect_only("fast-math", "compute/meson.build", f"args = ['{flag}']\n")
        self.expect_only("fast-math", "compute/a.cc", f'#pragma GCC optimize("{flag}")\n')

    def test_every_rule_is_named_in_this_file(self):
        text = Path(__file__).read_text(encoding="utf-8")
        for rule in ALL_RULES:
            self.assertIn(f'"{rule}"', text)


class FunctionsTest(unittest.TestCase):
    def measured(self, source):
        return [(function.name, function.line, function.lines) for function in cpp_source.functions(source)]

    def test_functions_of_namespaces_and_classes_are_found(self):
        source = (
            "namespace a {\nnamespace {\nint F() { return 1; }\n}\nclass B : public C<int> {\n public:\n"
            "  explicit B(int x)\n      : x_(x), y_{x}, z_{1} {\n    G();\n  }\n  ~B() override {}\n"
            "  bool operator==(const B& b) const { return true; }\n  operator bool() const { return x_; }\n"
            " private:\n  int x_ = {};\n  std::array<int, 2> w_{1, 2};\n};\nenum class E { kA, kB };\n}\n"
        )
        self.assertEqual(
            self.measured(source),
            [("F", 3, 1), ("B", 7, 4), ("~B", 11, 1), ("operator==", 12, 1), ("operatorbool", 13, 1)],
        )

    def test_initialisers_and_lambdas_are_no_functions_of_their_own(self):
        source = (
            "constexpr int kTable[] = {1, 2};\nconst auto kF = [](int x) { return x; };\nstatic Foo foo{Bar(1)};\n"
            "void F(Options o = {}, int n = 3) {\n  auto g = [&] {\n    return 1;\n  };\n}\n"
        )
        self.assertEqual(self.measured(source)[-1], ("F", 4, 5))
        self.assertNotIn("kF", [name for name, _, _ in self.measured(source)])

    def test_templates_attributes_and_trailing_returns(self):
        source = (
            "template <typename T, int N = (1 << 2)>\n[[nodiscard]] auto F(T t) -> std::vector<T> {\n  return {};\n}\n"
            "template <>\nstruct S<int> {\n  static int G() noexcept(true) { return 0; }\n};\n"
            'extern "C" {\nint H(void) { return 1; }\n}\nextern "C" int I(const char* p) {\n  return 0;\n}\n'
        )
        self.assertEqual(self.measured(source), [("F", 1, 4), ("G", 7, 1), ("H", 10, 1), ("I", 12, 3)])

    def test_comments_strings_and_directives_hide_braces(self):
        source = (
            "// {\n/* { */\n#define OPEN {\nvoid F() {\n  auto a = \"{\", b = R\"x({\"})x\";\n  char c = '{', d = '\\'';\n"
            "  int n = 1'000;\n}\nvoid G() {}\n"
        )
        self.assertEqual(self.measured(source), [("F", 4, 5), ("G", 9, 1)])

    def test_test_cases_are_measured(self):
        self.assertEqual([f.lines for f in cpp_source.functions('TEST_CASE("a thing { happens") {\n  CHECK(true);\n}\n')], [3])


if __name__ == "__main__":
    unittest.main()
