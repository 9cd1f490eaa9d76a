"""Handwritten digits with PyTorch DistributedDataParallel.

Plain `env://` initialisation, real data that ships with scikit-learn, a checkpoint after every epoch and
resume from it. Nothing in here knows which launcher started it:

    phalanx run -n 4 --max-restarts 1 -- python train.py
    torchrun --standalone --nproc-per-node 4 train.py
"""

import argparse
import gc
import os
import signal
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn
from torch.distributed.elastic.multiprocessing.errors import record
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

SEED = 1797
TEST_SAMPLES = 360


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a small network on 8x8 images of digits")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=32, help="samples per rank and step")
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument(
        "--checkpoints",
        type=Path,
        default=Path(os.environ.get("CHECKPOINTS", "checkpoints")),
        help="directory of the checkpoint; also CHECKPOINTS (default: %(default)s)",
    )
    crash = parser.add_argument_group("a fault on purpose, in the first attempt only")
    crash.add_argument("--crash-rank", type=int, metavar="R", help="this rank kills itself")
    crash.add_argument("--crash-epoch", type=int, metavar="E", default=1, help="in the middle of this epoch")
    return parser.parse_args()


def open_process_group() -> torch.device:
    """NCCL where every rank of this machine has a GPU of its own, else Gloo on the CPU."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if torch.cuda.device_count() < int(os.environ.get("LOCAL_WORLD_SIZE", "1")):
        dist.init_process_group("gloo")
        return torch.device("cpu")

    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    dist.init_process_group("nccl", device_id=device)
    return device


def load_data() -> tuple[TensorDataset, TensorDataset]:
    """The 1,797 digits, shuffled by a fixed seed and split into training and test sets."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16.0
    labels = torch.tensor(digits.target, dtype=torch.int64)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SEED))
    test, train = order[:TEST_SAMPLES], order[TEST_SAMPLES:]
    return TensorDataset(images[train], labels[train]), TensorDataset(images[test], labels[test])


def build_model() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def save_checkpoint(path: Path, state: dict) -> None:
    """Complete or absent: written beside its place, flushed, then renamed over the last one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def crash_if_asked(arguments: argparse.Namespace, rank: int, epoch: int) -> None:
    first_attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
    if first_attempt and rank == arguments.crash_rank and epoch == arguments.crash_epoch:
        print(f"rank {rank} kills itself in epoch {epoch}", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


def train_epoch(model: nn.Module, loader: DataLoader, optimizer, device: torch.device, in_the_middle) -> float:
    """Runs one epoch and returns the loss averaged over all samples of all ranks."""
    model.train()
    total = torch.zeros(2, device=device)
    for step, (images, labels) in enumerate(loader):
        if step == len(loader) // 2:
            in_the_middle()
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        total += torch.stack([loss.detach() * len(labels), torch.tensor(float(len(labels)), device=device)])
    dist.all_reduce(total)
    return (total[0] / total[1]).item()


@torch.no_grad()
def accuracy(model: nn.Module, data: TensorDataset, rank: int, world: int, device: torch.device) -> float:
    """Each rank judges its own share of the test set, without the sampler's padding."""
    model.eval()
    images, labels = (tensor[rank::world].to(device) for tensor in data.tensors)
    right = (model(images).argmax(dim=1) == labels).sum()
    counts = torch.stack([right, torch.tensor(len(labels), device=device)])
    dist.all_reduce(counts)
    return (counts[0] / counts[1]).item()


@record
def main() -> None:
    arguments = parse_arguments()
    device = open_process_group()
    rank, world = dist.get_rank(), dist.get_world_size()

    torch.manual_seed(SEED)
    model = build_model().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=arguments.learning_rate)

    checkpoint = arguments.checkpoints / "digits.pt"
    first_epoch = 1
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first_epoch = state["epoch"] + 1
        if rank == 0:
            print(f"resumed from epoch {state['epoch']}", flush=True)
    elif rank == 0:
        print(f"training on {device.type} with {world} ranks", flush=True)

    # The checkpoint may be rewritten by rank 0 only after every rank has read it.
    dist.barrier()
    ddp = DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)
    train, test = load_data()
    sampler = DistributedSampler(train, seed=SEED)
    loader = DataLoader(train, batch_size=arguments.batch_size, sampler=sampler)

    for epoch in range(first_epoch, arguments.epochs + 1):
        sampler.set_epoch(epoch)
        loss = train_epoch(ddp, loader, optimizer, device, lambda: crash_if_asked(arguments, rank, epoch))
        if rank == 0:
            save_checkpoint(
                checkpoint,
                {"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()},
            )
            print(f"epoch {epoch}/{arguments.epochs} loss {loss:.4f}", flush=True)

    result = accuracy(model, test, rank, world, device)
    if rank == 0:
        print(f"accuracy {result:.4f}", flush=True)

    # Gloo's threads end with the last reference to the process group, and DDP holds one in a reference cycle.
    # A thread that outlives this function may touch a tensor while Python shuts down, which aborts the process.
    del ddp
    gc.collect()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
