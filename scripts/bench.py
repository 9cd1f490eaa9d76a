"""Measures `phalanx run -n N -- true` beside mpirun, torchrun and a plain shell loop.

All launchers take turns within a repetition, so that a slow minute of the machine hits all of them; what counts is the
ratio of medians within one run. A command that does not end within its limit (mpirun 4.1 does that now and then) is
killed, counted and left out of the median.
"""

import argparse
import os
import platform
import select
import shutil
import signal
import statistics
import subprocess
import sys
import time

LIMIT_SECONDS = 20


class Launcher:
    def __init__(self, name, command, repetitions, environment=None):
        self.name = name
        self.command = command
        self.repetitions = repetitions
        self.environment = {**os.environ, **(environment or {})}
        self.samples = []
        self.hung = 0
        self.failed = 0

    def measure(self, keep=True):
        began = time.perf_counter()
        process = subprocess.Popen(
            self.command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        # Popen.wait with a timeout polls at growing intervals, which would round every sample up.
        pidfd = os.pidfd_open(process.pid)
        ended, _, _ = select.select([pidfd], [], [], LIMIT_SECONDS)
        elapsed = (time.perf_counter() - began) * 1000
        os.close(pidfd)
        if not ended:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self.hung += keep
            return
        if process.wait() != 0:
            self.failed += keep
        elif keep:
            self.samples.append(elapsed)

    def median(self):
        return statistics.median(self.samples) if self.samples else None


def launchers(arguments, ranks):
    true = shutil.which("true")
    several, few = arguments.repetitions, arguments.torchrun_repetitions
    yield Launcher("phalanx run", [arguments.phalanx, "run", "-q", "-n", str(ranks), "--output", "files", "--", true], several)
    yield Launcher("shell loop", ["bash", "-c", f"for ((i = 0; i < {ranks}; i++)); do {true} & done; wait"], several)
    if mpirun := shutil.which("mpirun"):
        command = [mpirun, "--oversubscribe", "-n", str(ranks), true]
        as_root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        yield Launcher("mpirun", command, several, as_root)
    if not arguments.skip_torchrun:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
        yield Launcher("torchrun", [*command, "--no-python", true], few)


def compare(arguments, ranks):
    rows = list(launchers(arguments, ranks))
    for row in rows:
        row.measure(keep=False)
    for repetition in range(arguments.repetitions):
        for row in rows:
            if repetition < row.repetitions:
                row.measure()
    ours = rows[0].median()
    print(f"\n{ranks} ranks of true       median ms     min     max   runs   against phalanx")
    for row in rows:
        notes = [f"{row.hung} hung and were killed"] * bool(row.hung) + [f"{row.failed} failed"] * bool(row.failed)
        if not row.samples:
            print(f"  {row.name:<20} no run ended well: {', '.join(notes)}")
            continue
        ratio = f"{row.median() / ours:8.2f} x" if ours else "       -"
        print(
            f"  {row.name:<20} {row.median():9.1f} {min(row.samples):7.1f} {max(row.samples):7.1f} {len(row.samples):6d}"
            f"   {ratio}   {', '.join(notes)}"
        )
    return {row.name: row.median() for row in rows}


def children_of_all():
    """Parent pid -> [(pid, name)] of every process there is."""
    children = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as file:
                name, rest = file.read().split("(", 1)[1].rsplit(")", 1)
        except OSError:
            continue
        children.setdefault(int(rest.split()[1]), []).append((int(entry), name))
    return children


def descend(children, pid, rank_name):
    """The processes of ours at and below `pid`, and the number of ranks met; nothing below a rank is visited."""
    ours, ranks = [pid], 0
    for child, name in children.get(pid, []):
        if name == rank_name:
            ranks += 1
            continue
        below, more = descend(children, child, rank_name)
        ours += below
        ranks += more
    return ours, ranks


def pss_kilobytes(pid):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))


def memory(arguments, ranks):
    """The sum of the proportional set sizes of all processes of ours while `ranks` ranks of sleep run."""
    command = [arguments.phalanx, "run", "-q", "-n", str(ranks), "--output", "files", "--", shutil.which("sleep"), "60"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + LIMIT_SECONDS
        while True:
            ours, found = descend(children_of_all(), process.pid, "sleep")
            if found == ranks:
                break
            if process.poll() is not None or time.monotonic() > deadline:
                print(f"\nmemory: not measured, {found} of {ranks} ranks were seen")
                return
            time.sleep(0.02)
        time.sleep(0.5)
        total = 0
        print(f"\nPSS of our processes while {ranks} ranks of sleep run")
        for pid in ours:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")
            size = pss_kilobytes(pid)
            total += size
            print(f"  {size / 1024:6.2f} MB  {os.path.basename(words[0])} {words[1] if len(words) > 1 else ''}")
        print(f"  {total / 1024:6.2f} MB  in all")
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def machine():
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown processor")
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    cores = len(os.sched_getaffinity(0))
    print(f"{cores} cores of {model}, {pages:.0f} GiB, Linux {platform.release()}, load {os.getloadavg()[0]:.2f}")


def version(command):
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return (result.stdout or result.stderr).strip().split("\n")[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--phalanx", required=True)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 8, 32])
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--torchrun-repetitions", type=int, default=3)
    parser.add_argument("--skip-torchrun", action="store_true")
    arguments = parser.parse_args()

    machine()
    print(version([arguments.phalanx, "--version"]))
    if shutil.which("mpirun"):
        print(version(["mpirun", "--version"]))
    else:
        print("mpirun: not installed, left out")
    medians = {ranks: compare(arguments, ranks) for ranks in arguments.ranks}
    memory(arguments, 8)
    eight = medians.get(8, {})
    if eight.get("phalanx run") and eight.get("mpirun"):
        print(f"\n8 ranks: {eight['phalanx run'] / eight['mpirun']:.2f} of mpirun's wall time")


if __name__ == "__main__":
    main()
