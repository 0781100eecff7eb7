"""Trains the demonstration model on the CPU: DeepSeek-V3 in small, with multi-head latent attention, sigmoid routing in
groups, a correction bias that balances the load, one shared expert and one leading dense layer.

usage: train.py FOLDER STEPS [--threads N]

Reads train.bin and val.bin from FOLDER and writes ck.pt there, from which a later call goes on. Runs with torch 1.13;
about 2.6 s a step of 4,096 tokens on one core.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from model import CONFIG, Model, MoE

SEQUENCE, BATCH, LEARNING_RATE = 256, 16, 1.5e-3
WARM_UP_STEPS, DECAY_FROM, LAST_SHARE = 100, 0.6, 0.03
BALANCE_LOSS, BIAS_STEP = 1e-3, 1e-3
SAVE_EVERY, REPORT_EVERY = 200, 20


def learning_rate(step, steps):
    """Warm up, hold, then fall in a straight line."""
    rate = LEARNING_RATE * min(1, (step + 1) / WARM_UP_STEPS)
    if step < DECAY_FROM * steps:
        return rate
    return rate * (LAST_SHARE + (1 - LAST_SHARE) * (1 - (step - DECAY_FROM * steps) / ((1 - DECAY_FROM) * steps)))


def make_optimizer(model):
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0}]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.95))


def loss_of(model, ids):
    """Mean loss of predicting each id from the ones before it; ids is [rows, positions]."""
    return F.cross_entropy(model(ids[:, :-1]).reshape(-1, CONFIG.vocab_size), ids[:, 1:].reshape(-1))


def train_step(model, layers, optimizer, ids, rate):
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss = loss_of(model, ids)
    optimizer.zero_grad(set_to_none=True)
    (loss + BALANCE_LOSS * sum(layer.balance_loss for layer in layers)).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    with torch.no_grad():
        for layer in layers:
            wanted = 1 / CONFIG.n_routed_experts
            layer.e_score_correction_bias += BIAS_STEP * torch.sign(wanted - layer.load) * (rate / LEARNING_RATE)
    return loss.item()


def validate(model, ids):
    model.eval()
    with torch.no_grad():
        starts = range(0, len(ids) - SEQUENCE - 1, SEQUENCE * 6)
        losses = [loss_of(model, torch.from_numpy(ids[at : at + SEQUENCE + 1][None])).item() for at in starts]
    model.train()
    return sum(losses) / len(losses)


def save(folder, model, optimizer, step):
    """Replaces the checkpoint in one move, so that a stop in between loses nothing."""
    torch.save({"m": model.state_dict(), "o": optimizer.state_dict(), "s": step + 1}, folder / "ck.tmp")
    os.replace(folder / "ck.tmp", folder / "ck.pt")


def resume(folder, model, optimizer):
    if not (folder / "ck.pt").exists():
        return 0
    checkpoint = torch.load(folder / "ck.pt")
    model.load_state_dict(checkpoint["m"])
    optimizer.load_state_dict(checkpoint["o"])
    return checkpoint["s"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("steps", type=int)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    text, held_out = (np.fromfile(options.folder / n, dtype=np.uint16).astype(np.int64) for n in ("train.bin", "val.bin"))
    model = Model()
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6} M parameters")
    optimizer = make_optimizer(model)
    start = resume(options.folder, model, optimizer)
    random, began = np.random.RandomState(start + 7), time.time()
    layers = [layer.mlp for layer in model.layers if isinstance(layer.mlp, MoE)]
    model.train()
    for step in range(start, options.steps):
        rows = random.randint(0, len(text) - SEQUENCE - 1, BATCH)
        ids = torch.from_numpy(np.stack([text[at : at + SEQUENCE + 1] for at in rows]))
        loss = train_step(model, layers, optimizer, ids, learning_rate(step, options.steps))
        if step % REPORT_EVERY == 0:
            busiest = [round(layer.load.max().item() * CONFIG.n_routed_experts, 1) for layer in layers]
            seconds = (time.time() - began) / (step - start + 1)
            print(f"step {step} loss {loss:.3f} busiest experts {busiest} {seconds:.2f} s a step", flush=True)
        if step % SAVE_EVERY == SAVE_EVERY - 1 or step == options.steps - 1:
            save(options.folder, model, optimizer, step)
            print(f"step {step} held-out loss {validate(model, held_out):.4f}", flush=True)


if __name__ == "__main__":
    main()
