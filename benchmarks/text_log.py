"""How long does a report on a long log take? Each kind of log of a million lines.

    python benchmarks/text_log.py [--lines 1000000] [--kinds stages,original,noise] [--folder DIR]

The logs are made by hand from the formats of docs/logs.md; the report is that of
`analyze_performance.py`, in a process of its own. The memory is the sum over that process
and those it starts, sampled, each shared page counted once (PSS).
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil

STAGES = (
    *("flow", "spike_encoder", "temporal_attention", "vrt.input", "vrt.output"),
    *(f"vrt.stage{n}" for n in range(1, 9)),
    *(f"fusion{n}" for n in range(1, 5)),
)
ROOTS = ("前向传播总耗时", "VRT处理", "Spike编码器", "Spike时间自注意力")


def stages(chance: np.random.Generator) -> Iterator[str]:
    """Our own log: a step line, and stages of forward and backward, at each step."""
    yield "[run] id=bench schema=1 facts=nowhere clock=device"
    step = 0
    while True:
        step += 1
        noise = chance.uniform(0.8, 1.2, 32)
        names = " ".join(f"{n}={9 * f:.1f}ms" for n, f in zip(STAGES, noise, strict=False))
        yield (
            f"step {step}/900000 | loss={noise[0] / 9:.4f} charb={noise[1] / 9:.4f} "
            f"lr={noise[2] * 1e-4:.2e} | GPU0_mem=1.2GB | {2 * noise[3]:.1f} samples/s | "
            f"data_time={4 * noise[4]:.1f}ms step_time={476 * noise[5]:.1f}ms"
        )
        yield (
            f"stages {step}/900000 | clock=device | data_wait={4 * noise[4]:.1f}ms h2d=0.8ms "
            f"forward={170 * noise[6]:.1f}ms loss=1.1ms backward={302 * noise[7]:.1f}ms "
            f"optimizer=12.4ms other=3.4ms | {names} forward.other=1.2ms"
        )
        yield f"stages.backward {step}/900000 | clock=device | {names} backward.other=3.1ms"


def steps(chance: np.random.Generator) -> Iterator[str]:
    """Our own step lines alone."""
    lines = stages(chance)
    yield next(lines)
    yield from (line for line in lines if line.startswith("step "))


def original(chance: np.random.Generator) -> Iterator[str]:
    """The original trainer's log: progress, steps, memory, its console block."""
    step = 0
    while True:
        step += 20
        noise = chance.uniform(0.8, 1.2, 4)
        seconds = step * 6
        clock = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        bar = "[#...................]   1.6%"
        yield f"[progress] {step}/8880000 {bar} | elapsed={clock} | eta=79:12:11"
        if step % 100 == 0:
            yield (
                f"step {step}/8880000 | loss={noise[0] / 9:.4f} charb=0.0189 vgg=0.0451 "
                f"lr=9.87e-05 | GPU0_mem=1.2GB | {0.5 * noise[1]:.1f} samples/s | data_time=0.1ms"
            )
            yield (
                f"[Step {step}] Memory - Process: {15678.9 * noise[2]:.1f}MB (6.1%), System: "
                "125.4/256.0GB (49.0%), GPU: 8192.0MB allocated, 9216.0MB reserved"
            )
            yield f"\x1b[36m\x1b[1m┌─ Timing Profile (Step {step}) ───\x1b[0m"
            for root in ROOTS:
                yield f"│ {root:25s} {'█' * 13}{'░' * 17} {280 * noise[3]:6.1f}ms 45.2%"
            yield "└─ Total:  620.0ms ─────"


def timing(chance: np.random.Generator) -> Iterator[str]:
    """The original trainer's timing log."""
    step = 0
    while True:
        step += 1
        noise = chance.uniform(0.8, 1.2, 16)
        yield from ("", "=" * 80, f"Step {step}", "=" * 80)
        for root, factor in zip(ROOTS, noise, strict=False):
            ms = 1805 * factor
            yield f"{root:40s}: {ms:8.2f}ms ( 50.0%) [avg: {ms:8.2f}ms]"
            if root == "VRT处理":
                for n in range(1, 9):
                    ms = 100 * noise[n]
                    yield f"  - {f'Stage{n}':36s}: {ms:8.2f}ms [avg: {ms:8.2f}ms]"
        yield from ("", f"{'Total':-<40s}: {3610.53:8.2f}ms")


def mmengine(chance: np.random.Generator) -> Iterator[str]:
    """MMEngine's iteration lines with a time stamp each."""
    step = 0
    while True:
        step += 10
        noise = chance.uniform(0.8, 1.2, 3)
        stamp = time.strftime("%Y/%m/%d %H:%M:%S", time.gmtime(1.7e9 + step * 0.5))
        yield (
            f"{stamp} - mmengine - INFO - Iter(train) [{step:>8}/9000000]  lr: 1.0000e-04  "
            f"eta: 1 day, 3:10:00  time: {0.5 * noise[0]:.4f}  data_time: {0.05 * noise[1]:.4f}  "
            f"memory: 7012  loss: {noise[2]:.4f}"
        )


def noise(chance: np.random.Generator) -> Iterator[str]:
    """Lines that nobody knows between ours, with the word `step` in many of them."""
    own = stages(chance)
    yield next(own)
    number = 0
    while True:
        number += 1
        yield next(own)
        yield f"NCCL INFO Channel {number % 24:02} : 0[{number}] -> 1[{number}] via P2P/IPC"
        yield f"2026-01-02 03:04:05,678 WARNING timestep {number} | took {chance.integers(99)} us"
        yield " ".join(chance.choice(["alpha", "beta", "gamma", "delta", "eps"], 9))


KINDS: dict[str, Callable[[np.random.Generator], Iterator[str]]] = {
    "stages": stages,
    "steps": steps,
    "original": original,
    "timing": timing,
    "mmengine": mmengine,
    "noise": noise,
}


def make(kind: str, num_lines: int, path: Path) -> None:
    """Writes a log."""
    lines = KINDS[kind](np.random.default_rng(0))
    with path.open("w", encoding="utf-8") as file:
        for _ in range(num_lines):
            file.write(next(lines) + "\n")


def measure(path: Path) -> tuple[float, float, float, int]:
    """Seconds, seconds of processor time, largest MiB and exit code of a report."""
    tool = Path(__file__).resolve().parents[1] / "analyze_performance.py"
    begin, used = time.perf_counter(), _used_s()
    process = subprocess.Popen(
        [sys.executable, str(tool), str(path), "--json", str(path) + ".json"],
        stdout=subprocess.DEVNULL,
    )
    peak = [0.0]
    watcher = threading.Thread(target=_watch, args=(process, peak))
    watcher.start()
    code = process.wait()
    seconds = time.perf_counter() - begin
    watcher.join()
    return seconds, _used_s() - used, peak[0], code


def _used_s() -> float:
    """Processor time of all processes that have ended, by the kernel's count."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _watch(process: "subprocess.Popen[bytes]", peak: list[float]) -> None:
    while process.poll() is None:
        total = 0
        try:
            main = psutil.Process(process.pid)
            for each in (main, *main.children(recursive=True)):
                total += each.memory_full_info().pss
        except psutil.Error:
            continue
        peak[0] = max(peak[0], total / 2**20)
        time.sleep(0.05)


def main() -> None:
    """Measures each kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--folder", type=Path, help="where the logs are kept (default: nowhere)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{'log':10} {'lines':>9} {'MiB':>7} {'s':>6} {'CPU s':>6} {'peak MiB':>9} exit")
        for kind in options.kinds.split(","):
            path = folder / f"{kind}_{options.lines}.log"
            if not path.exists():
                make(kind, options.lines, path)
            seconds, used, peak, code = measure(path)
            size = path.stat().st_size / 2**20
            print(
                f"{kind:10} {options.lines:9} {size:7.0f} {seconds:6.1f} {used:6.1f} "
                f"{peak:9.0f} {code:4}"
            )


if __name__ == "__main__":
    main()
