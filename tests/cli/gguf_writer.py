"""Writes small GGUF files for the tests of the command line: any keys and tensors, or a whole tiny model.

The tiny model is of the deepseek2 family with random weights and a byte-level vocabulary. Everything about it can be
bent out of shape, since most of the tests are about files that are not as they should be.
"""

import random
import struct

U32, F32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9
TYPE_F32, TYPE_F16, TYPE_Q8_0 = 0, 1, 8
BLOCKS = {TYPE_F32: (1, 4), TYPE_F16: (1, 2), TYPE_Q8_0: (32, 34)}  # elements and bytes
ALIGNMENT = 32


def string(text):
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw)) + raw


def value_bytes(value):
    """The value's type number and its bytes; ints become u32, lists arrays of what their first item is."""
    if isinstance(value, bool):
        return BOOL, struct.pack("<B", value)
    if isinstance(value, int):
        return U32, struct.pack("<I", value)
    if isinstance(value, float):
        return F32, struct.pack("<f", value)
    if isinstance(value, (str, bytes)):
        return STRING, string(value)
    items = [value_bytes(item) for item in value]
    kind = items[0][0] if items else U32
    return ARRAY, struct.pack("<IQ", kind, len(items)) + b"".join(raw for _, raw in items)


def key_bytes(key, value):
    kind, raw = value_bytes(value)
    return string(key) + struct.pack("<I", kind) + raw


def tensor_size(dims, kind):
    elements, size = BLOCKS[kind]
    count = 1
    for dim in dims:
        count *= dim
    return count // elements * size


def write_gguf(path, keys, tensors):
    """`tensors` are (name, dims, type number, bytes); data is laid down in their order."""
    infos, data = b"", bytearray()
    for name, dims, kind, raw in tensors:
        infos += string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, len(data))
        data += raw + bytes(-len(raw) % ALIGNMENT)
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    header += b"".join(key_bytes(key, value) for key, value in keys.items()) + infos
    with open(path, "wb") as out:
        out.write(header + bytes(-len(header) % ALIGNMENT) + data)
    return str(path)


def byte_level_characters():
    """The characters that stand for the 256 bytes in a byte-level vocabulary, in the order of the bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in plain else next(others)) for byte in range(256)]


SHAPE = {
    "layers": 2,
    "dense_layers": 1,
    "embedding": 32,
    "heads": 2,
    "nope": 16,
    "rope": 8,
    "value": 16,
    "latent": 32,
    "ffn": 64,
    "expert_ffn": 32,
    "experts": 8,
    "used": 2,
    "context": 64,
    "unused_rows": 0,  # rows of the embedding beyond the vocabulary
    "expert_type": TYPE_F32,
    "pairs": 0,  # of this many bytes each two make a token: a large vocabulary
}


def vocabulary(pairs=0):
    characters = byte_level_characters()
    merges = ["t h", "h e", *(f"{a} {b}" for a in characters[128 : 128 + pairs] for b in characters[128 : 128 + pairs])]
    tokens = ["<s>", "</s>", *characters, *(merge.replace(" ", "") for merge in merges)]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3, 3] + [1] * (len(tokens) - 2),
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.add_bos_token": True,
    }


def model_keys(**changes):
    shape = {**SHAPE, **changes}
    return {
        "general.architecture": "deepseek2",
        "general.name": "tiny",
        **{
            f"deepseek2.{key}": value
            for key, value in {
                "block_count": shape["layers"],
                "leading_dense_block_count": shape["dense_layers"],
                "embedding_length": shape["embedding"],
                "context_length": shape["context"],
                "feed_forward_length": shape["ffn"],
                "expert_feed_forward_length": shape["expert_ffn"],
                "expert_count": shape["experts"],
                "expert_used_count": shape["used"],
                "expert_shared_count": 1,
                "attention.head_count": shape["heads"],
                "attention.kv_lora_rank": shape["latent"],
                "attention.key_length": shape["nope"] + shape["rope"],
                "attention.value_length": shape["value"],
                "attention.layer_norm_rms_epsilon": 1e-6,
                "rope.dimension_count": shape["rope"],
            }.items()
        },
        **vocabulary(shape["pairs"]),
    }


def model_tensors(**changes):
    """(name, dims, type) of every tensor, in the order of the layers."""
    shape = {**SHAPE, **changes}
    wide, heads, key = shape["embedding"], shape["heads"], shape["nope"] + shape["rope"]
    vocab = len(vocabulary(shape["pairs"])["tokenizer.ggml.tokens"]) + shape["unused_rows"]
    table = TYPE_Q8_0 if shape["pairs"] else TYPE_F32
    yield "token_embd.weight", [wide, vocab], table
    for layer in range(shape["layers"]):
        blk = f"blk.{layer}."
        yield blk + "attn_norm.weight", [wide], TYPE_F32
        yield blk + "attn_q.weight", [wide, heads * key], TYPE_F32
        yield blk + "attn_kv_a_mqa.weight", [wide, shape["latent"] + shape["rope"]], TYPE_F32
        yield blk + "attn_kv_a_norm.weight", [shape["latent"]], TYPE_F32
        yield blk + "attn_kv_b.weight", [shape["latent"], heads * (shape["nope"] + shape["value"])], TYPE_F32
        yield blk + "attn_output.weight", [heads * shape["value"], wide], TYPE_F32
        yield blk + "ffn_norm.weight", [wide], TYPE_F32
        if layer < shape["dense_layers"]:
            yield blk + "ffn_gate.weight", [wide, shape["ffn"]], TYPE_F32
            yield blk + "ffn_up.weight", [wide, shape["ffn"]], TYPE_F32
            yield blk + "ffn_down.weight", [shape["ffn"], wide], TYPE_F32
            continue
        narrow, experts, kind = shape["expert_ffn"], shape["experts"], shape["expert_type"]
        yield blk + "ffn_gate_inp.weight", [wide, experts], TYPE_F32
        yield blk + "ffn_gate_shexp.weight", [wide, narrow], TYPE_F32
        yield blk + "ffn_up_shexp.weight", [wide, narrow], TYPE_F32
        yield blk + "ffn_down_shexp.weight", [narrow, wide], TYPE_F32
        yield blk + "ffn_gate_exps.weight", [wide, narrow, experts], kind
        yield blk + "ffn_up_exps.weight", [wide, narrow, experts], kind
        yield blk + "ffn_down_exps.weight", [narrow, wide, experts], kind
    yield "output_norm.weight", [wide], TYPE_F32
    yield "output.weight", [wide, vocab], table


def random_weights(dims, kind, numbers):
    size = tensor_size(dims, kind)
    if kind == TYPE_F32:
        scale = 1.0 if len(dims) == 1 else dims[0] ** -0.5
        return struct.pack(f"<{size // 4}f", *(scale * numbers.uniform(-1.7, 1.7) for _ in range(size // 4)))
    assert kind == TYPE_Q8_0
    scale = struct.pack("<e", 1.7 * dims[0] ** -0.5 / 127)
    return b"".join(scale + numbers.randbytes(32) for _ in range(size // 34))


def write_model(path, keys=None, drop=(), bend=None, **changes):
    """A whole model. `keys` are added or replaced (None removes one); tensors in `drop` are left out; `bend` is
    called with (name, dims, type) and may return others, the bytes staying those of the sound tensor."""
    numbers = random.Random(7)
    merged = {**model_keys(**changes), **(keys or {})}
    tensors = []
    for name, dims, kind in model_tensors(**changes):
        raw = random_weights(dims, kind, numbers)
        if name not in drop:
            tensors.append((*(bend(name, dims, kind) if bend else (name, dims, kind)), raw))
    return write_gguf(path, {key: value for key, value in merged.items() if value is not None}, tensors)


def split_model(folder, prefix="part"):
    """The same model in two shards; returns their paths."""
    numbers = random.Random(7)
    tensors = [(*info, random_weights(info[1], info[2], numbers)) for info in model_tensors()]
    half = len(tensors) // 2
    paths = []
    for number, part in enumerate((tensors[:half], tensors[half:])):
        split = {"split.no": number, "split.count": 2, "split.tensors.count": len(tensors)}
        keys = {**(model_keys() if number == 0 else {}), **split}
        paths.append(write_gguf(folder / f"{prefix}-{number + 1:05}-of-00002.gguf", keys, part))
    return paths
