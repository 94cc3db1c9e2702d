"""Held-out likelihood of the real teachers: our heads against heads of the published size, after equal training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR

from bench._project import read_project
from bench._wide_heads import WideHeads
from bench.measure import Row
from polydistill.config.params import Params
from polydistill.data.corpora import open_corpus
from polydistill.data.modalities.text import TextModality
from polydistill.embeddings.store import open_corpus_embeddings
from polydistill.heads import HEADS
from polydistill.losses.gaussian_nll import gaussian_nll
from polydistill.project.layout import Layout
from polydistill.students import encode, load_student
from polydistill.training.dataset import Ints, held_out_mask, seeded
from polydistill.training.standardise import fit_standardiser

N_TRAIN, N_HELD_OUT, STEPS, BATCH = 12_000, 2_000, 300, 256
GOAL = "at least 1"
Split = tuple[Tensor, dict[str, Tensor]]


def run() -> list[Row]:
    """Train both on the frozen default student, with the same loss, optimiser, schedule, order and seed."""
    params = read_project()
    trained, held_out = _read(params)
    dims = {name: values.shape[1] for name, values in trained[1].items()}
    width = trained[0].shape[1]
    block = params.modality("text").heads
    peer = WideHeads(width, dims, seed=0)
    _train(params, peer, trained)
    theirs = _mean_nats(peer, *held_out).item()
    rows = []
    whole = {"mean_rank": None, "scale_rank": None}
    for name, changes in (("", {}), (", from the whole trunk", whole)):
        ours: nn.Module = HEADS.get(block.name)(
            width, dims, torch.Generator().manual_seed(0), **(block.options | changes)
        )
        _train(params, ours, trained)
        mine = _mean_nats(ours, *held_out).item()
        sizes = f"{_millions(ours)} against {_millions(peer)} parameters"
        rows.append(
            Row(
                name=f"heads-quality{name}: held-out likelihood after {STEPS} steps, {sizes}",
                ours=round(mine, 4),
                peer=round(theirs, 4),
                ratio=round(theirs / mine, 4),
                unit="nats/dim",
                goal=GOAL,
            )
        )
    return rows


def _millions(heads: nn.Module) -> str:
    return f"{sum(weight.numel() for weight in heads.parameters()) / 1e6:.1f}M"


def _read(params: Params) -> tuple[Split, Split]:
    """Return the student's embeddings and all teachers' targets, for training rows and held-out rows."""
    torch.set_num_threads(1)
    layout = Layout(Path(), "text")
    corpus = open_corpus(layout.corpus, params.modality("text").corpus, TextModality())
    mask = held_out_mask(corpus.groups, params.modality("text").corpus.held_out)
    stored = open_corpus_embeddings(
        layout.corpus_embeddings(params.enabled_teachers("text")), corpus.ids
    )
    order = seeded(params.seed, "rows of heads-quality").permutation(len(mask))
    order = order[np.all([one.present for one in stored.values()], axis=0)[order]]
    splits = [order[~mask[order]][:N_TRAIN], order[mask[order]][:N_HELD_OUT]]
    student = load_student(layout.student)
    texts = corpus.examples
    embedded = [torch.from_numpy(encode(student, [texts[row] for row in rows])) for rows in splits]
    targets: list[dict[str, Tensor]] = [{}, {}]
    for name, one in stored.items():
        values = [one.take(rows).values for rows in splits]
        standardiser = fit_standardiser(values[0], np.ones(len(splits[0]), dtype=np.bool_))
        for own, part in zip(targets, values, strict=True):
            own[name] = torch.from_numpy(standardiser.apply(part))
    return (embedded[0], targets[0]), (embedded[1], targets[1])


def _train(params: Params, heads: nn.Module, split: Split) -> None:
    embedded, targets = split
    training = params.modality("text").training
    optimizer = AdamW(
        heads.parameters(),
        training.head_learning_rate,
        weight_decay=training.weight_decay,
        fused=True,
    )
    schedule = CosineAnnealingLR(optimizer, STEPS)
    for rows in _orders(params.seed, len(embedded)):
        own = {name: values[rows] for name, values in targets.items()}
        _mean_nats(heads, embedded[rows], own).backward()
        nn.utils.clip_grad_norm_(heads.parameters(), training.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


def _orders(seed: int, n_rows: int) -> list[Ints]:
    draw = seeded(seed, "order of heads-quality")
    per_epoch = n_rows // BATCH
    epochs = [draw.permutation(n_rows) for _ in range(-(-STEPS // per_epoch))]
    batches = [order[at * BATCH : (at + 1) * BATCH] for order in epochs for at in range(per_epoch)]
    return batches[:STEPS]


def _mean_nats(heads: nn.Module, embedded: Tensor, targets: dict[str, Tensor]) -> Tensor:
    """Return the loss in nats per dimension, averaged over rows and teachers."""
    predictions = heads(embedded)
    mask = torch.ones(len(embedded), dtype=torch.bool)
    nats = [gaussian_nll(predictions[name], own, mask).mean() for name, own in targets.items()]
    return torch.stack(nats).mean()
