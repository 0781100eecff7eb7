"""The network of the demonstration model in PyTorch, named as in the checkpoints of DeepSeek-V3."""

import math
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

CONFIG = SimpleNamespace(
    hidden_size=256, num_hidden_layers=5, first_k_dense_replace=1, intermediate_size=768, moe_intermediate_size=256,
    n_routed_experts=32, num_experts_per_tok=4, n_shared_experts=1, n_group=4, topk_group=2, routed_scaling_factor=1.5,
    num_attention_heads=4, q_lora_rank=128, kv_lora_rank=64, qk_nope_head_dim=48, qk_rope_head_dim=16, v_head_dim=64,
    vocab_size=4096, rms_norm_eps=1e-6, rope_theta=10000.0, max_position_embeddings=512,
)  # fmt: skip


def linear(inputs, outputs):
    return nn.Linear(inputs, outputs, bias=False)


class RMSNorm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + CONFIG.rms_norm_eps) * self.weight


def rope_tables(positions):
    size = CONFIG.qk_rope_head_dim
    frequencies = 1 / (CONFIG.rope_theta ** (torch.arange(0, size, 2).float() / size))
    angles = torch.outer(torch.arange(positions).float(), frequencies)
    return angles.cos(), angles.sin()


def rope(x, cos, sin):
    """Rotates interleaved pairs."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        c = CONFIG
        heads, query = c.num_attention_heads, c.qk_nope_head_dim + c.qk_rope_head_dim
        self.q_a_proj = linear(c.hidden_size, c.q_lora_rank)
        self.q_a_layernorm = RMSNorm(c.q_lora_rank)
        self.q_b_proj = linear(c.q_lora_rank, heads * query)
        self.kv_a_proj_with_mqa = linear(c.hidden_size, c.kv_lora_rank + c.qk_rope_head_dim)
        self.kv_a_layernorm = RMSNorm(c.kv_lora_rank)
        self.kv_b_proj = linear(c.kv_lora_rank, heads * (c.qk_nope_head_dim + c.v_head_dim))
        self.o_proj = linear(heads * c.v_head_dim, c.hidden_size)

    def forward(self, x, cos, sin, mask):
        (batch, length, _), c = x.shape, CONFIG
        heads, plain, turned = c.num_attention_heads, c.qk_nope_head_dim, c.qk_rope_head_dim

        def by_head(y):
            return y.view(batch, length, heads, -1).transpose(1, 2)

        query = by_head(self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x))))
        query_plain, query_turned = query.split([plain, turned], -1)
        latent, key_turned = self.kv_a_proj_with_mqa(x).split([c.kv_lora_rank, turned], -1)
        key_plain, value = by_head(self.kv_b_proj(self.kv_a_layernorm(latent))).split([plain, c.v_head_dim], -1)
        query_turned = rope(query_turned, cos, sin)
        key_turned = rope(key_turned.view(batch, 1, length, turned), cos, sin).expand(batch, heads, length, turned)
        key = torch.cat([key_plain, key_turned], -1)
        scores = torch.cat([query_plain, query_turned], -1) @ key.transpose(-1, -2) / math.sqrt(plain + turned) + mask
        return self.o_proj((scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, length, -1))


class MLP(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.gate_proj = linear(CONFIG.hidden_size, inner)
        self.up_proj = linear(CONFIG.hidden_size, inner)
        self.down_proj = linear(inner, CONFIG.hidden_size)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class MoE(nn.Module):
    def __init__(self):
        super().__init__()
        experts, inner = CONFIG.n_routed_experts, CONFIG.moe_intermediate_size
        self.gate = linear(CONFIG.hidden_size, experts)
        self.register_buffer("e_score_correction_bias", torch.zeros(experts))
        self.experts = nn.ModuleList(MLP(inner) for _ in range(experts))
        self.shared_experts = MLP(inner)
        self.load, self.balance_loss = torch.zeros(experts), 0

    def route(self, x):
        """Scores of all experts, and the chosen ones with their weights."""
        c = CONFIG
        size = c.n_routed_experts // c.n_group
        scores = self.gate(x).sigmoid()
        biased = scores + self.e_score_correction_bias
        groups = biased.view(-1, c.n_group, size).topk(2, -1)[0].sum(-1)
        open_groups = torch.zeros_like(groups).scatter_(1, groups.topk(c.topk_group, -1)[1], 1)
        closed = open_groups.unsqueeze(-1).expand(-1, c.n_group, size).reshape(-1, c.n_routed_experts) == 0
        chosen = biased.masked_fill(closed, -1e9).topk(c.num_experts_per_tok, -1)[1]
        weights = scores.gather(1, chosen)
        return scores, chosen, weights / (weights.sum(-1, keepdim=True) + 1e-20) * c.routed_scaling_factor

    def forward(self, x):
        flat = x.reshape(-1, x.shape[-1])
        scores, chosen, weights = self.route(flat)
        order = chosen.reshape(-1).argsort()
        counts = torch.bincount(chosen.reshape(-1), minlength=CONFIG.n_routed_experts)
        rows = order // chosen.shape[1]
        parts = flat[rows].split(counts.tolist())
        outputs = [self.experts[expert](part) for expert, part in enumerate(parts) if len(part)]
        weighted = torch.cat(outputs) * weights.reshape(-1)[order].unsqueeze(-1)
        routed = torch.zeros_like(flat).index_add(0, rows, weighted)
        if self.training:
            self.load = counts.float() / chosen.numel()
            share = (scores / scores.sum(-1, keepdim=True)).mean(0)
            self.balance_loss = CONFIG.n_routed_experts * (share * self.load).sum()
        return (routed + self.shared_experts(flat)).view(x.shape)


class Block(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.input_layernorm = RMSNorm(CONFIG.hidden_size)
        self.self_attn = Attention()
        self.post_attention_layernorm = RMSNorm(CONFIG.hidden_size)
        self.mlp = MLP(CONFIG.intermediate_size) if layer < CONFIG.first_k_dense_replace else MoE()

    def forward(self, x, cos, sin, mask):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        layers = CONFIG.num_hidden_layers
        self.embed_tokens = nn.Embedding(CONFIG.vocab_size, CONFIG.hidden_size)
        self.layers = nn.ModuleList(Block(layer) for layer in range(layers))
        self.norm = RMSNorm(CONFIG.hidden_size)
        self.lm_head = linear(CONFIG.hidden_size, CONFIG.vocab_size)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                into_stream = "down" in name or "o_proj" in name
                nn.init.normal_(parameter, 0, 0.02 / math.sqrt(2 * layers) if into_stream else 0.02)

    def forward(self, ids):
        length = ids.shape[1]
        cos, sin = rope_tables(length)
        mask = torch.full((length, length), float("-inf")).triu(1)
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, cos, sin, mask)
        return self.lm_head(self.norm(x))
