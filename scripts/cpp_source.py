"""Reads C++ just well enough to measure it: which text is code, and where each function begins and ends.

No compiler is asked. Comments and literals are blanked, then braces are walked at namespace and class scope only; what
stands before a brace tells whether it opens a scope, a function body or an initialiser. Lambdas count as part of the
function they stand in.
"""

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<comment>//(?:\\\n|[^\n])*|/\*.*?\*/)
      | (?P<number>\b\d(?:'?[\w.])*)
      | (?P<raw>(?:u8|[uUL])?R"(?P<mark>[^()\\\s]{0,16})\(.*?\)(?P=mark)")
      | (?P<text>(?:u8|[uUL])?"(?:\\.|[^"\\\n])*")
      | (?P<char>(?:u8|[uUL])?'(?:\\.|[^'\\\n])*')""",
    re.VERBOSE | re.DOTALL,
)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.MULTILINE)
_ACCESS = re.compile(r"\b(?:public|private|protected)\s*:(?!:)")
_TYPE_SCOPE = re.compile(r"\s*(?:(?:typedef|static|inline|constexpr)\s+)*(?:class|struct|union|enum)\b")
_NAME = re.compile(r"(operator\s*(?:\(\s*\)|[^\s\w(]+|[\w:]+)|~?[\w:]*\w)\s*(?:<[^()]*>)?\s*\(")


class UnbalancedError(Exception):
    """The braces of a file do not match, so nothing in it can be measured."""


@dataclass
class Function:
    name: str
    line: int
    last_line: int

    @property
    def lines(self):
        return self.last_line - self.line + 1


def _blank(text):
    return re.sub(r"[^\n]", " ", text)


def without_comments(source):
    """The source with comments turned into spaces; every line keeps its number."""
    return _TOKEN.sub(lambda m: _blank(m.group()) if m.group("comment") else m.group(), source)


def code_only(source):
    """The source with comments and literals turned into spaces."""
    return _TOKEN.sub(lambda m: m.group() if m.group("number") else _blank(m.group()), source)


def _matching_braces(code):
    match, opened = {}, []
    for found in re.finditer(r"[{}]", code):
        if found.group() == "{":
            opened.append(found.start())
        elif opened:
            match[opened.pop()] = found.start()
        else:
            raise UnbalancedError(f"line {code.count(chr(10), 0, found.start()) + 1}: unmatched closing brace")
    if opened:
        raise UnbalancedError(f"line {code.count(chr(10), 0, opened[-1]) + 1}: unmatched opening brace")
    return match


def _strip_groups(text, opening, closing):
    """Drops what stands inside balanced pairs, keeping the outer pair."""
    out, depth = [], 0
    for char in text:
        if char == closing and depth > 0:
            depth -= 1
        if depth == 0:
            out.append(char)
        if char == opening:
            depth += 1
    return "".join(out)


def _flatten(head):
    """The head without attributes, template prefix and what stands inside its parentheses."""
    head = _strip_groups(re.sub(r"\[\[.*?\]\]", " ", head, flags=re.DOTALL), "(", ")")
    while (found := re.match(r"\s*template\s*<", head)) is not None:
        depth, end = 1, found.end()
        while end < len(head) and depth > 0:
            depth += {"<": 1, ">": -1}.get(head[end], 0)
            end += 1
        head = head[end:]
    return head


def _opens(head):
    """What the brace after a flattened head opens at namespace or class scope: scope, function or init."""
    has_equals = re.search(r"(?<![=!<>])=(?!=)", re.sub(r"\boperator\s*[^\s\w(]+", "operator", head)) is not None
    if not head.strip() or re.match(r"\s*(?:inline\s+)?namespace\b", head):
        return "scope"
    if _TYPE_SCOPE.match(head) and not has_equals:
        return "scope"
    if "(" not in head:
        return "scope" if re.match(r"\s*extern\s*$", head) else "init"
    if has_equals:
        return "init"
    in_member_list = re.search(r"\)[\s\w]*:(?!:)", head) is not None
    return "init" if in_member_list and head.rstrip()[-1] not in ")}." else "function"


def _name(head, line):
    found = _NAME.search(head)
    return re.sub(r"\s+", "", found.group(1)) if found else f"function at line {line}"


def functions(source):
    """Every function with a body, in order. Raises UnbalancedError."""
    code = _DIRECTIVE.sub(lambda m: _blank(m.group()), code_only(source))
    match = _matching_braces(code)
    found, at, head_start, depth = [], 0, 0, 0
    while at < len(code):
        char = code[at]
        if char in "([":
            depth += 1
        elif char in ")]":
            depth -= 1
        elif char == "{" and depth > 0:
            at = match[at]
        elif char == "{":
            head = _ACCESS.sub(lambda m: _blank(m.group()), code[head_start:at])
            kind = _opens(_flatten(head))
            if kind == "function":
                start = head_start + len(head) - len(head.lstrip())
                line = code.count("\n", 0, start) + 1
                found.append(Function(_name(_flatten(head), line), line, code.count("\n", 0, match[at]) + 1))
            if kind != "scope":
                at = match[at]
            if kind != "init":
                head_start = at + 1
        elif char == "}" or (char == ";" and depth == 0):
            head_start = at + 1
        at += 1
    return found
