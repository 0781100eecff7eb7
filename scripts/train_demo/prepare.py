"""Text and tokenizer of the demonstration model: trains a byte-level BPE and writes token streams.

usage: prepare.py CORPUS.txt FOLDER

CORPUS.txt holds cleaned books in plain text, separated by form feeds. FOLDER gets tok.json (tokens and merges),
train.bin and val.bin (uint16 ids; the last 2 % of each book is held out). Needs numpy and regex.
"""

import collections
import json
import sys
from pathlib import Path

import numpy as np
import regex

VOCAB = 4096
SPECIAL = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"]
HELD_OUT = 0.02

# The deepseek-v3 pre-tokeniser: each pattern in turn cuts what the ones before it left whole.
PRE_TOKENISER = [
    r"\p{N}{1,3}",
    r"[一-龥\u3040-\u309f\u30a0-\u30ff]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
]


def cut(pattern, text):
    """The matches of the pattern and what lies between them, in order."""
    at = 0
    for found in pattern.finditer(text):
        if found.start() > at:
            yield text[at : found.start()]
        if found.end() > found.start():
            yield found.group()
        at = found.end()
    if at < len(text):
        yield text[at:]


def pre_tokenise(text):
    parts = [text]
    for pattern in map(regex.compile, PRE_TOKENISER):
        parts = [piece for part in parts for piece in cut(pattern, part)]
    return parts


def byte_letters():
    """The printable stand-in of each byte that byte-level vocabularies use."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in letters)
    letters.update({byte: chr(256 + at) for at, byte in enumerate(others)})
    return letters


def merged(word, pair):
    out, at = [], 0
    while at < len(word):
        if at + 1 < len(word) and (word[at], word[at + 1]) == pair:
            out.append(word[at] + word[at + 1])
            at += 2
        else:
            out.append(word[at])
            at += 1
    return out


def train_bpe(words, counts, merges_wanted):
    """Merges the commonest pair again and again; `words` end up in their final pieces."""
    pairs, places = collections.Counter(), collections.defaultdict(set)
    for at, word in enumerate(words):
        for pair in zip(word, word[1:]):
            pairs[pair] += counts[at]
            places[pair].add(at)
    merges = []
    while len(merges) < merges_wanted:
        pair = max(pairs.items(), key=lambda item: (item[1], item[0]))[0]
        merges.append(pair)
        for at in list(places[pair]):
            word = merged(words[at], pair)
            for old in zip(words[at], words[at][1:]):
                pairs[old] -= counts[at]
            for new in zip(word, word[1:]):
                pairs[new] += counts[at]
                places[new].add(at)
            words[at] = word
        del pairs[pair]
        places.pop(pair, None)
    return merges


def token_streams(documents, ids_of, first, last):
    """One stream for training and one held out, every book between its special tokens."""
    train, held_out = [], []
    for pieces in documents:
        ids = [token for piece in pieces for token in ids_of[piece]]
        kept = int(len(ids) * (1 - HELD_OUT))
        train += [first, *ids[:kept], last]
        held_out += [first, *ids[kept:], last]
    return train, held_out


def main():
    corpus, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    documents = [pre_tokenise(book) for book in corpus.read_text(encoding="utf-8").split("\f")]
    counts = collections.Counter(piece for pieces in documents for piece in pieces)
    letters = byte_letters()
    words = [[letters[byte] for byte in piece.encode()] for piece in counts]
    merges = train_bpe(words, list(counts.values()), VOCAB - 256 - len(SPECIAL))
    tokens = SPECIAL[:2] + [letters[byte] for byte in range(256)] + [a + b for a, b in merges] + SPECIAL[2:]
    ids = {token: at for at, token in enumerate(tokens)}
    ids_of = {piece: [ids[part] for part in word] for word, piece in zip(words, counts)}
    train, held_out = token_streams(documents, ids_of, 0, 1)
    np.array(train, dtype=np.uint16).tofile(folder / "train.bin")
    np.array(held_out, dtype=np.uint16).tofile(folder / "val.bin")
    vocabulary = {"tokens": tokens, "merges": [f"{a} {b}" for a, b in merges]}
    (folder / "tok.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    print(f"{len(counts)} different words, {len(tokens)} tokens, {len(train)} ids to train on, {len(held_out)} held out")


if __name__ == "__main__":
    main()
