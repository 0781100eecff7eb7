"""Writes the trained checkpoint as GGUF: deepseek2 with attn_kv_b; norms, biases and the router in float32.

usage: export_gguf.py FOLDER OUT.gguf [f16|f32]      matrices are float16 unless f32 is asked for

Reads ck.pt and tok.json from FOLDER. Any GGUF quantiser makes smaller files from the result.
"""

import json
import struct
import sys
from pathlib import Path

import numpy as np
import torch
from model import CONFIG

ALIGNMENT = 32
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
TENSOR_F32, TENSOR_F16 = 0, 1
NORMAL_TOKEN, CONTROL_TOKEN = 1, 3
DESCRIPTION = "A small DeepSeek-V3-style MoE trained on public-domain stories for children, to see and measure streaming with."

ATTENTION = {
    "attn_q_a": "q_a_proj",
    "attn_q_a_norm": "q_a_layernorm",
    "attn_q_b": "q_b_proj",
    "attn_kv_a_mqa": "kv_a_proj_with_mqa",
    "attn_kv_a_norm": "kv_a_layernorm",
    "attn_kv_b": "kv_b_proj",
    "attn_output": "o_proj",
}


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def entry(key, value):
    """One key and value; the type of the value decides the type in the file."""
    if isinstance(value, bool):
        return text(key) + struct.pack("<I?", BOOL, value)
    if isinstance(value, int):
        return text(key) + struct.pack("<II", UINT32, value)
    if isinstance(value, float):
        return text(key) + struct.pack("<If", FLOAT32, value)
    if isinstance(value, str):
        return text(key) + struct.pack("<I", STRING) + text(value)
    if isinstance(value[0], str):
        return text(key) + struct.pack("<IIQ", ARRAY, STRING, len(value)) + b"".join(map(text, value))
    return text(key) + struct.pack("<IIQ", ARRAY, INT32, len(value)) + np.array(value, np.int32).tobytes()


def architecture():
    c = CONFIG
    return {
        "block_count": c.num_hidden_layers,
        "context_length": c.max_position_embeddings,
        "embedding_length": c.hidden_size,
        "feed_forward_length": c.intermediate_size,
        "attention.head_count": c.num_attention_heads,
        "attention.head_count_kv": c.num_attention_heads,
        "rope.freq_base": c.rope_theta,
        "attention.layer_norm_rms_epsilon": c.rms_norm_eps,
        "expert_used_count": c.num_experts_per_tok,
        "leading_dense_block_count": c.first_k_dense_replace,
        "vocab_size": c.vocab_size,
        "attention.q_lora_rank": c.q_lora_rank,
        "attention.kv_lora_rank": c.kv_lora_rank,
        "attention.key_length": c.qk_nope_head_dim + c.qk_rope_head_dim,
        "attention.value_length": c.v_head_dim,
        "expert_feed_forward_length": c.moe_intermediate_size,
        "expert_count": c.n_routed_experts,
        "expert_shared_count": c.n_shared_experts,
        "expert_weights_scale": c.routed_scaling_factor,
        "expert_weights_norm": True,
        "expert_gating_func": 2,
        "expert_group_count": c.n_group,
        "expert_group_used_count": c.topk_group,
        "rope.dimension_count": c.qk_rope_head_dim,
    }


def metadata(vocabulary, matrix_type):
    tokens = vocabulary["tokens"]
    types = [CONTROL_TOKEN] * 2 + [NORMAL_TOKEN] * (len(tokens) - 4) + [CONTROL_TOKEN] * 2
    general = {
        "general.architecture": "deepseek2",
        "general.name": "sluice-storyteller",
        "general.file_type": 1 if matrix_type == TENSOR_F16 else 0,
        "general.description": DESCRIPTION,
    }
    tokenizer = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "deepseek-v3",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": vocabulary["merges"],
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_eos_token": False,
    }
    return general | {f"deepseek2.{key}": value for key, value in architecture().items()} | tokenizer


def layer_tensors(weights, layer):
    """Yields (name, tensor, always float32)."""
    source, name = f"layers.{layer}.", f"blk.{layer}."
    yield name + "attn_norm.weight", weights[source + "input_layernorm.weight"], True
    yield name + "ffn_norm.weight", weights[source + "post_attention_layernorm.weight"], True
    for ours, theirs in ATTENTION.items():
        yield name + ours + ".weight", weights[f"{source}self_attn.{theirs}.weight"], False
    mlp = source + "mlp."
    if layer < CONFIG.first_k_dense_replace:
        for part in ("gate", "up", "down"):
            yield f"{name}ffn_{part}.weight", weights[f"{mlp}{part}_proj.weight"], False
        return
    yield name + "ffn_gate_inp.weight", weights[mlp + "gate.weight"], True
    yield name + "exp_probs_b.bias", weights[mlp + "e_score_correction_bias"], True
    for part in ("gate", "up", "down"):
        experts = [weights[f"{mlp}experts.{e}.{part}_proj.weight"] for e in range(CONFIG.n_routed_experts)]
        yield f"{name}ffn_{part}_exps.weight", torch.stack(experts), False
        yield f"{name}ffn_{part}_shexp.weight", weights[f"{mlp}shared_experts.{part}_proj.weight"], False


def tensors(weights, matrix_type):
    """Yields (name, type, array) in file order; vectors are always float32."""
    named = [
        ("token_embd.weight", weights["embed_tokens.weight"], False),
        ("output_norm.weight", weights["norm.weight"], True),
        ("output.weight", weights["lm_head.weight"], False),
    ]
    for layer in range(CONFIG.num_hidden_layers):
        named += layer_tensors(weights, layer)
    for name, tensor, exact in named:
        kind = TENSOR_F32 if exact or tensor.dim() == 1 else matrix_type
        array = tensor.detach().float().numpy()
        yield name, kind, np.ascontiguousarray(array.astype(np.float16) if kind == TENSOR_F16 else array)


def padding(length):
    return b"\0" * (-length % ALIGNMENT)


def write(path, entries, arrays):
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(arrays), len(entries))
    head += b"".join(entry(key, value) for key, value in entries.items())
    offset = 0
    for name, kind, array in arrays:
        head += text(name) + struct.pack(f"<I{array.ndim}Q", array.ndim, *reversed(array.shape))
        head += struct.pack("<IQ", kind, offset)
        offset += array.nbytes + len(padding(array.nbytes))
    with open(path, "wb") as out:
        out.write(head + padding(len(head)))
        for _, _, array in arrays:
            out.write(array.tobytes() + padding(array.nbytes))


def main():
    folder, out = Path(sys.argv[1]), sys.argv[2]
    matrix_type = {"f16": TENSOR_F16, "f32": TENSOR_F32}[sys.argv[3] if len(sys.argv) > 3 else "f16"]
    weights = torch.load(folder / "ck.pt", map_location="cpu")["m"]
    vocabulary = json.loads((folder / "tok.json").read_text(encoding="utf-8"))
    write(out, metadata(vocabulary, matrix_type), list(tensors(weights, matrix_type)))


if __name__ == "__main__":
    main()
