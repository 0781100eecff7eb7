#!/usr/bin/env python3
"""The rules of the tree that no compiler checks; prints `path:line: [rule] message` and exits 1 when one is broken.

usage: check_style.py [--root DIR] [--only RULE]... [--list]

Looks at every file that git tracks or would track (every file, where there is no git). Standard library only.
"""

import argparse
import ast
import re
import socket
import statistics
import subprocess
import sys
from pathlib import Path, PurePosixPath

sys.path.insert(0, str(Path(__file__).resolve().parent))
import cpp_source  # noqa: E402

FILE_LINES, SHELL_LINES, FUNCTION_LINES, MEDIAN_BELOW = 600, 300, 70, 10
FILE_BYTES, LARGE_FILES = 2 << 20, {"demo/storyteller-q4_k_m.gguf"}

LIBRARIES = ("base", "storage", "compute", "prefetch", "src")
FOLDERS = LIBRARIES + ("tests", "bench")
PACKAGES = {"absl", "benchmark", "CLI", "doctest", "nlohmann"}  # may be included in quotes
MAY_INCLUDE = {
    "base": {"base"},
    "storage": {"base", "storage"},
    "compute": {"base", "compute"},
    "prefetch": {"base", "storage", "compute", "prefetch"},
    "src": set(LIBRARIES),
    "tests": set(FOLDERS),
    "bench": set(FOLDERS),
}
# Written in two halves so that this file keeps its own rule.
OPEN_ENDS = r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b"
HOME_PATHS = r"(?<![\w.~*-])/(?:wo" r"rk|ro" r"ot|ho" r"me)/"
FAST_MATH = r"-Ofa" r"st\b|fast-ma" r"th\b|-funsafe-ma" r"th"
LINUX_HEADERS = re.compile(
    r"(?:linux/.*|asm/.*|asm-generic/.*|liburing.*|syscall\.h|"
    r"sys/(?:epoll|eventfd|fanotify|inotify|personality|prctl|sendfile|signalfd|statfs|syscall|sysinfo|sysmacros|"
    r"timerfd|vfs|xattr|random|auxv)\.h)$"
)
LINUX_CALLS = re.compile(
    r"\b(?:O_DIRECT|O_PATH|O_TMPFILE|MAP_POPULATE|MAP_HUGETLB|MADV_HUGEPAGE|FALLOC_FL_\w+|memfd_create|preadv2|statx|"
    r"posix_fadvise|posix_fallocate|fallocate|sync_file_range|syncfs|mremap|pthread_setaffinity_np|sched_[gs]etaffinity|"
    r"gettid|malloc_trim|mallinfo2?|getauxval|get_nprocs|program_invocation_name)\b"
)
GUARDED_BY_PLATFORM = re.compile(r"__linux__|__APPLE__|__has_include|\bdefined\b|#\s*ifdef")


class SourceFile:
    """One file of the tree; text and code are read when first asked for."""

    def __init__(self, root, name):
        self.name, self.path = name, root / name
        self.parts = PurePosixPath(name).parts
        self.folder = self.parts[0] if len(self.parts) > 1 else ""
        self.is_cpp = name.endswith((".h", ".cc")) and self.folder in FOLDERS
        self.is_python = name.endswith(".py")
        self.is_library = self.is_cpp and self.folder in LIBRARIES
        raw = self.path.read_bytes()
        self.size = len(raw)
        self.is_text = b"\0" not in raw[:8192]
        self.text = raw.decode("utf-8", "replace") if self.is_text else ""
        self.is_python = self.is_python or bool(re.match(r"#!.*python", self.text))
        self.is_shell = bool(re.match(r"#!.*\b(?:ba)?sh\b", self.text))
        self.code = cpp_source.code_only(self.text) if self.is_cpp else ""

    def within(self, *folders):
        return self.name.startswith(tuple(folder + "/" for folder in folders))

    def line_of(self, offset):
        return self.text.count("\n", 0, offset) + 1

    def includes(self):
        """Yields (line, is_quoted, path)."""
        plain = cpp_source.without_comments(self.text)
        for found in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', plain, re.MULTILINE):
            yield self.line_of(found.start(2)), found.group(1) == '"', found.group(2)


def check_file_size(file):
    lines = file.text.count("\n")
    limit = SHELL_LINES if file.is_shell else FILE_LINES
    if (file.is_cpp or file.is_python or file.is_shell) and lines > limit:
        yield 1, f"{lines} lines, the limit is {limit}: split the file"
    if file.size > FILE_BYTES and file.name not in LARGE_FILES:
        yield 1, f"{file.size} bytes, the limit is {FILE_BYTES}: large files do not belong in the repository"


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield cpp_source.Function(node.name, node.lineno, node.end_lineno)


def check_function_size(file):
    try:
        found = cpp_source.functions(file.text) if file.is_cpp else []
        found = list(python_functions(file.text)) if file.is_python else found
    except (cpp_source.UnbalancedError, SyntaxError) as error:
        yield 1, f"cannot be measured: {error}"
        return
    for function in found:
        if function.lines > FUNCTION_LINES:
            yield function.line, f"{function.name} has {function.lines} lines, the limit is {FUNCTION_LINES}"


def check_layering(file):
    if not file.is_cpp:
        return
    for line, quoted, path in file.includes():
        target = path.split("/")[0]
        if target in FOLDERS and "/" in path and not quoted:
            yield line, f"<{path}> is a file of this tree: include it in quotes"
        elif target in FOLDERS and "/" in path and target not in MAY_INCLUDE[file.folder]:
            yield line, f"{file.folder} must not include {path}: it may know {', '.join(sorted(MAY_INCLUDE[file.folder]))}"
        elif quoted and target not in PACKAGES and (target not in FOLDERS or "/" not in path):
            yield line, f'"{path}" is not relative to the root of the tree'


def check_include_guard(file):
    if not file.is_cpp or not file.name.endswith(".h"):
        return
    guard = "SLUICE_" + re.sub(r"[^A-Za-z0-9]", "_", file.name).upper() + "_"
    directives = re.findall(r"^#.*", file.text, re.MULTILINE)
    if directives[:2] != [f"#ifndef {guard}", f"#define {guard}"] or directives[-1] != f"#endif  // {guard}":
        yield 1, f"the include guard must be {guard}, closed by `#endif  // {guard}`"


def check_portability(file):
    """Linux lives in storage/*_linux* (and its tests); elsewhere a Linux-only call stands inside an #if."""
    if not file.is_cpp or (file.within("storage", "tests/storage") and "_linux" in file.parts[-1]):
        return
    for line, _, path in file.includes():
        if LINUX_HEADERS.match(path):
            yield line, f"<{path}> belongs in storage/*_linux* alone"
    guards = []
    for number, text in enumerate(file.code.split("\n"), 1):
        if re.match(r"\s*#\s*if", text):
            guards.append(bool(GUARDED_BY_PLATFORM.search(text)))
        elif re.match(r"\s*#\s*endif", text) and guards:
            guards.pop()
        elif (found := LINUX_CALLS.search(text)) and not any(guards):
            yield number, f"{found.group()} does not exist everywhere: storage/*_linux*, or inside an #if"


def personal_names():
    """Names of this machine that have no business in a shared tree, where they are unlike any word."""
    names = {socket.gethostname(), socket.gethostname().split(".")[0]}
    return [name for name in names if len(name) >= 8 and re.search(r"[\d-]", name) and not name.startswith("localhost")]


def check_privacy(file):
    pattern = "|".join([HOME_PATHS] + [r"\b" + re.escape(name) + r"\b" for name in personal_names()])
    for found in re.finditer(pattern, file.text):
        yield file.line_of(found.start()), f"{found.group()} names a developer's machine"


def forbid(pattern, message, applies, in_code=True):
    """A rule that bans a pattern, in C++ code without comments and literals, or in whole texts."""
    compiled = re.compile(pattern)

    def check(file):
        if applies(file):
            for found in compiled.finditer(file.code if in_code else file.text):
                yield file.line_of(found.start()), f"{found.group().strip()}: {message}"

    return check


RULES = {
    "file-size": check_file_size,
    "function-size": check_function_size,
    "layering": check_layering,
    "include-guard": check_include_guard,
    "portability": check_portability,
    "privacy": check_privacy,
    "open-ends": forbid(OPEN_ENDS, "finish it, or open an issue", lambda f: f.is_text, in_code=False),
    "environment": forbid(
        r"\b(?:secure_getenv|getenv|setenv|putenv|environ)\b",
        "the environment is not configuration: add an option",
        # Where a user keeps caches is told nowhere else.
        lambda f: f.is_library and f.name != "src/cli/read_patterns.cc",
    ),
    "printing": forbid(
        r"\bstd::c(?:out|err|log)\b|\b(?:v|f|d|vf|vd)?printf\b|\babsl::F?PrintF\b|\b(?:puts|fputs|putchar|perror)\s*\(|"
        r"\b(?:stdout|stderr)\b",
        "libraries do not print: return a Status or hand the text to src/cli",
        lambda f: f.is_library and not f.within("src/cli") and f.name != "base/check.h",
    ),
    "exit": forbid(
        r"\b(?:exit|_exit|quick_exit|abort)\s*\(",
        "libraries do not end the process: return a Status, or SLUICE_CHECK for a bug",
        lambda f: f.is_library and not f.within("src/cli") and f.name != "base/check.h",
    ),
    "exceptions": forbid(r"\bthrow\b", "nothing throws out of this code", lambda f: f.is_library),
    "iostream": forbid(
        r"#[ \t]*include[ \t]*<iostream>",
        "only src/cli and tests may",
        lambda f: f.is_cpp and not f.within("src/cli", "tests"),
    ),
    "mutex": forbid(
        r"\bstd::(?:recursive_|timed_|shared_|recursive_timed_|shared_timed_)?mutex\b|\babsl::(?:Mutex|CondVar)\b|"
        r"\bstd::(?:condition_variable\w*|lock_guard|unique_lock|scoped_lock|shared_lock)\b",
        "locks come from base/mutex.h",
        lambda f: f.is_cpp and f.name != "base/mutex.h",
    ),
    "sleep": forbid(
        r"\b(?:sleep_for|sleep_until|usleep|nanosleep|absl::SleepFor)\b|\bsleep\s*\(",
        "tests do not sleep: wait for the event",
        lambda f: f.is_cpp and f.folder == "tests",
    ),
    "fast-math": forbid(
        FAST_MATH,
        "it would change bits",
        lambda f: f.is_cpp or f.parts[-1] in ("meson.build", "meson_options.txt"),
        in_code=False,
    ),
}


def list_files(root):
    try:
        out = subprocess.run(
            ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        names = out.split("\0")
    except (OSError, subprocess.CalledProcessError):
        names = [path.relative_to(root).as_posix() for path in root.rglob("*")]
        names = [name for name in names if not name.startswith((".git/", "build")) and "__pycache__" not in name]
    return sorted({name for name in names if name and (root / name).is_file() and not (root / name).is_symlink()})


def library_function_lengths(files):
    lengths = []
    for file in files:
        try:
            lengths += [function.lines for function in cpp_source.functions(file.text)] if file.is_library else []
        except cpp_source.UnbalancedError:
            pass  # function-size reports it
    return lengths


def run(root, rules):
    """Returns (broken, summary): the broken rules as lines, and one line of figures."""
    files = [SourceFile(root, name) for name in list_files(root)]
    broken = [
        f"{file.name}:{line}: [{rule}] {message}"
        for file in files
        for rule in rules
        if rule in RULES
        for line, message in RULES[rule](file)
    ]
    lengths = library_function_lengths(files)
    median = statistics.median(lengths) if lengths else 0
    if "median" in rules and median >= MEDIAN_BELOW:
        broken.append(f"tree:1: [median] half of all functions have {median:g} lines or more; fewer than {MEDIAN_BELOW} wanted")
    summary = f"style: {len(files)} files, {len(lengths)} functions, median {median:g} lines, "
    return broken, summary + f"longest {max(lengths, default=0)}, {len(broken)} broken rules"


def main():
    names = list(RULES) + ["median"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--only", action="append", choices=names, metavar="RULE")
    parser.add_argument("--list", action="store_true", help="print the names of the rules")
    options = parser.parse_args()
    if options.list:
        print("\n".join(names))
        return 0
    broken, summary = run(options.root.resolve(), options.only or names)
    print("\n".join(broken + [summary]))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
