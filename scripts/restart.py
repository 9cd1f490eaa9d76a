"""Measures what a failure costs: `phalanx run` on one machine and on two nodes, beside torchrun with its fastest settings.

Speed: a rank ends with 1; how long until every rank of the next attempt runs its program. The ranks tell the time
themselves, so that both launchers are measured alike. What counts is the ratio within one run.

Second attempts: two gloo ranks, of which one ends with 1 in the first attempt; how often does the second one complete?
Also when one rank is three seconds behind, and when one ignores SIGTERM: then the whole is timed as well.
"""

import argparse
import contextlib
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

LIMIT_SECONDS = 60
RANKS = 4

# What each rank of the speed bench does: it says when it began, and in the first attempt one rank says when it ends.
STAMP = """
import os, sys, time
began = time.time_ns()
attempt, rank = os.environ["TORCHELASTIC_RESTART_COUNT"], os.environ["RANK"]
out = os.environ["STAMPS"]
with open(f"{out}/began-{attempt}-{rank}", "w") as file:
    file.write(str(began))
if attempt == "0":
    while len([name for name in os.listdir(out) if name.startswith("began-0-")]) < int(os.environ["WORLD_SIZE"]):
        time.sleep(0.005)
    if rank == "1":
        with open(f"{out}/ended", "w") as file:
            file.write(str(time.time_ns()))
        os._exit(1)
    time.sleep(60)
"""

GLOO = """
import os, signal, sys, time
import torch
import torch.distributed as dist
attempt, rank = int(os.environ["TORCHELASTIC_RESTART_COUNT"]), int(os.environ["RANK"])
kind = os.environ["KIND"]
if kind == "deaf" and rank == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if kind == "skew" and attempt == 1 and rank == 1:
    time.sleep(3)
dist.init_process_group("gloo")
ones = torch.ones(1)
dist.all_reduce(ones)
assert ones.item() == dist.get_world_size()
if attempt == 0:
    if rank == 1:
        sys.exit(1)
    time.sleep(60)
# A program that leaves this out aborts now and then at its end, whoever launched it.
dist.destroy_process_group()
"""


def run(command, environment, limit=LIMIT_SECONDS):
    """The exit code and the seconds; None if it did not end."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    pidfd = os.pidfd_open(process.pid)
    ended, _, _ = select.select([pidfd], [], [], limit)
    os.close(pidfd)
    seconds = time.perf_counter() - began
    if not ended:
        os.killpg(process.pid, signal.SIGKILL)
    code = process.wait()
    return (code if ended else None), seconds


def gap(out, attempt="1"):
    """Milliseconds from the end of a rank until the last of the next attempt began; None if they did not."""
    stamp = lambda name: int((out / name).read_text())
    names = [f"began-{attempt}-{rank}" for rank in range(RANKS)]
    if not all((out / name).exists() for name in ["ended", *names]):
        return None
    return (max(map(stamp, names)) - stamp("ended")) / 1e6


@contextlib.contextmanager
def cluster(phalanx, worker, folder):
    """A coordinator and two workers on loopback; what a client needs to reach them."""
    processes = []
    log = open(folder / "log", "wb")
    spawn = lambda command, environment: processes.append(
        subprocess.Popen(
            command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    )
    try:
        state = folder / "coordinator"
        state = folder / "coordinator"
        spawn([phalanx, "serve", "--state-dir", state, "--listen", f"127.0.0.1:{free_port()}"], {})
        client = {"PHALANX_IDENTITY": str(state / "operator.json")}
        ask = lambda *words, env=client: subprocess.run(
            [phalanx, *words], env={**os.environ, **env}, capture_output=True, text=True
        )
        wait_for(lambda: ask("nodes").returncode == 0, "the coordinator", folder)
        token = ask("token", "create", "--quiet", "--uses", "2").stdout.strip()
        address = json.loads((state / "operator.json").read_text())["coordinators"][0]
        for name in ["a", "b"]:
            flags = ["--state-dir", folder / name, "--slots", "2", "--address", "127.0.0.1", "--allow-root-jobs"]
            # Two workers of one machine share its ports: each has its own.
            flags += ["--ports", "21000-21999" if name == "a" else "22000-22999"]
            spawn([worker, "join", address, *flags], {"PHALANX_TOKEN": token})
        wait_for(lambda: ask("nodes").stdout.count(" ready ") == 2, "two workers", folder)
        login = subprocess.run(
            [phalanx, "login", "--socket", state / "login.sock"],
            env={**os.environ, "XDG_CONFIG_HOME": str(folder / "config")},
            capture_output=True,
            text=True,
        )
        if login.returncode:
            sys.exit(f"cannot log in: {login.stderr}")
        yield {"XDG_CONFIG_HOME": str(folder / "config")}
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()
        log.close()


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(holds, what, folder):
    until = time.monotonic() + 60
    while not holds():
        if time.monotonic() > until:
            sys.exit(f"{what} did not start:\n{(folder / 'log').read_text()[-2000:]}")
        time.sleep(0.1)


def speed(args, folder):
    """Launchers take turns, so that a slow minute of the machine hits all of them."""
    stamp = folder / "stamp.py"
    stamp.write_text(STAMP)
    python = [sys.executable, "-S", "-E", str(stamp)]
    plain = [args.phalanx, "run", "--output", "files", "--max-restarts", "1", "--grace", "5", "--env", "STAMPS"]
    torchrun = [shutil.which("torchrun", path=pathlib.Path(sys.executable).parent), "--max-restarts", "1"]
    torchrun += ["--monitor-interval", "0.01", "--nproc-per-node", str(RANKS), "--master-port", "0", "--no-python"]
    with cluster(args.phalanx, args.worker, folder) as client:
        launchers = {
            "phalanx, one machine": ([*plain, "--local", "-n", str(RANKS), "--", *python], {}),
            "phalanx, two nodes": ([*plain, "--nodes", "2", "--ranks", str(RANKS), "--", *python], client),
            "torchrun, one machine": ([*torchrun, *python], {}),
        }
        times = {name: [] for name in launchers}
        for repetition in range(args.repetitions):
            for name, (command, environment) in launchers.items():
                if name.startswith("torchrun") and repetition >= max(3, args.repetitions // 4):
                    continue
                out = folder / f"stamps-{repetition}-{name.replace(' ', '-')}"
                out.mkdir()
                code, _ = run([*map(str, command)], {"STAMPS": str(out), **environment}, 60)
                times[name].append(gap(out) if code == 0 else None)
    print(f"\nfrom the end of one of {RANKS} ranks until all of the next attempt run      median ms     min     max   runs")
    for name, found in times.items():
        good = sorted(time for time in found if time is not None)
        if not good:
            print(f"  {name:<24} never got there in {len(found)} runs")
            continue
        lost = len(found) - len(good)
        note = f"   {lost} did not get there" if lost else ""
        middle = statistics.median(good)
        print(f"  {name:<66} {middle:9.1f} {good[0]:7.1f} {good[-1]:7.1f} {len(good):6}{note}")


def second_attempts(args, folder):
    script = folder / "gloo.py"
    script.write_text(GLOO)
    torchrun = shutil.which("torchrun", path=pathlib.Path(sys.executable).parent)
    grace = 5
    launchers = {
        "phalanx": [args.phalanx, "run", "--local", "--output", "files", "-n", "2", "--max-restarts", "1"]
        + ["--grace", str(grace), "--", sys.executable, script],
        "torchrun": [torchrun, "--nproc-per-node", "2", "--max-restarts", "1", "--master-port", "0", script],
    }
    environment = {"OMP_NUM_THREADS": "1", "TORCHELASTIC_EXIT_BARRIER_TIMEOUT": str(grace)}
    print(f"\nsecond attempts of two gloo ranks that complete (grace {grace} s)")
    for kind, ours in [("plain", args.attempts), ("skew", max(1, args.attempts // 10)), ("deaf", max(1, args.attempts // 20))]:
        for name, command in launchers.items():
            count = ours if name == "phalanx" else min(ours, args.torchrun_attempts)
            good, seconds = 0, []
            for _ in range(count):
                code, time_taken = run([*map(str, command)], {"KIND": kind, **environment})
                good += code == 0
                seconds.append(time_taken)
            print(f"  {kind:<6} {name:<10} {good:3} of {count:3}, median {statistics.median(seconds):5.1f} s in all")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phalanx", required=True)
    parser.add_argument("--worker", required=True)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--attempts", type=int, default=100, help="second attempts of ours; a tenth of them with skew")
    parser.add_argument("--torchrun-attempts", type=int, default=10)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="phalanx-restart-") as folder:
        speed(args, pathlib.Path(folder))
        second_attempts(args, pathlib.Path(folder))


if __name__ == "__main__":
    main()
