"""Make the demo data set: real video in, blurry frames and spikes out, in GoPro+Spike layout.

Frames of a real clip are taken as if filmed at 240 frames a second and split into 8 sub-frames each
by optical flow. N frames averaged give one blurry picture, their middle frame is the sharp one, and
a simulated spike camera of half the size looks at every sub-frame for one tick.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vrtspike.data.atomic_files import check_out_folder, folder_lock, replace_file, whole_folder
from vrtspike.data.sample_clips import CLIPS, PACKAGE, Shot, Split, locate, read_frames
from vrtspike.data.spike_camera import SpikeCamera
from vrtspike.data.spike_config import FILE_NAME as SPIKE_CONFIG
from vrtspike.data.spike_config import write_spike_config
from vrtspike.data.spike_stream import DEFAULT_THETA, ByteArray, FloatArray, encode, write_dat
from vrtspike.data.subframes import SubframeInterpolator
from vrtspike.errors import DataError, VRTSpikeError
from vrtspike.standard_output import print_error, print_line

GENERATOR_VERSION = 1
MANIFEST = "manifest.json"
TICKS_PER_FRAME = 8
ASSUMED_FPS = 240
GAMMA = 2.2
DEFAULT_OUT = Path("data/sample")


@dataclass(frozen=True, kw_only=True)
class SampleParams:
    """What the generated data set depends on.

    `averaged` is N, the frames in one blurry picture. `scale` shrinks the video first.
    `shots_per_split` and `windows_per_shot` keep only the first so many; None keeps all.
    """

    clip: str = "bikes"
    averaged: int = 7
    scale: float = 0.5
    shots_per_split: int | None = None
    windows_per_shot: int | None = None
    theta: float = DEFAULT_THETA
    seed: int = 123

    def __post_init__(self) -> None:
        if self.clip not in CLIPS:
            raise DataError(f"no sample clip is called {self.clip!r}; known: {', '.join(CLIPS)}")
        if not 2 <= self.averaged <= 31:
            raise DataError(f"averaged frames must be 2 to 31, got {self.averaged}")
        if not 0.05 <= self.scale <= 1.0:
            raise DataError(f"scale must be 0.05 to 1, got {self.scale}")
        if self.seed < 0:
            raise DataError(f"seed must not be negative, got {self.seed}")


SIZES = {
    "demo": SampleParams(),
    "ci": SampleParams(scale=0.25, shots_per_split=2, windows_per_shot=6),
    "full": SampleParams(scale=1.0),
}


@dataclass(frozen=True)
class _Pair:
    """One blurry picture with all that belongs to it; pictures RGB uint8."""

    number: int
    blur: ByteArray
    blur_gamma: ByteArray
    sharp: ByteArray
    spikes: ByteArray


def make_sample_dataset(out: Path, params: SampleParams) -> Path:
    """Make the data set at `out`, or leave it when it was made from the same parameters.

    The folder appears only when whole; several processes may call this at once.

    Returns:
        `out`, holding `{train,val}/<clip>/{blur,blur_gamma,sharp,spike}/NNNNNN.{png,dat}`.

    Raises:
        DataError: the video is missing, or `out` holds something that is not a sample data set.
    """
    check_out_folder(out)
    source = locate(CLIPS[params.clip])
    key = _key(params, source)
    with folder_lock(out):
        if _is_current(out, key):
            return out
        if out.exists() and not _may_replace(out):
            raise DataError(f"{out} is not a sample data set and is not overwritten: choose --out")
        with whole_folder(out) as folder, _one_cv2_thread():
            facts = _generate(folder, params, source)
            _finish(folder, params, source, {**facts, "key": key})
    return out


def _may_replace(out: Path) -> bool:
    """An empty folder, or one that plainly is a sample data set and holds nothing else.

    A `manifest.json` alone proves nothing: many programs write files of that name.
    """
    there = {entry.name for entry in out.iterdir()}
    ours = {"train", "val", SPIKE_CONFIG, MANIFEST}
    return not there or (there <= ours and {"key", "files", "generator"} <= set(read_manifest(out)))


def read_manifest(root: Path) -> dict[str, Any]:
    """The `manifest.json` of a sample data set; empty where there is none that can be read."""
    try:
        manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _key(params: SampleParams, source: Path) -> str:
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    facts = {**dataclasses.asdict(params), "video": digest, "generator": GENERATOR_VERSION}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _is_current(out: Path, key: str) -> bool:
    manifest = read_manifest(out)
    files = manifest.get("files", {})
    return manifest.get("key") == key and all(
        (out / name).is_file() and (out / name).stat().st_size == size
        for name, size in files.items()
    )


@contextlib.contextmanager
def _one_cv2_thread() -> Iterator[None]:
    """Optical flow depends on the number of threads: one makes every machine's run alike."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _generate(folder: Path, params: SampleParams, source: Path) -> dict[str, Any]:
    quality: dict[str, list[float]] = {}
    for number, shot in _chosen_shots(params):
        name = f"{shot.split}/{params.clip}_{params.averaged:02d}_{number:02d}"
        for kind in ("blur", "blur_gamma", "sharp", "spike"):
            (folder / name / kind).mkdir(parents=True)
        for pair in _pairs(source, shot, params, number):
            _write_pair(folder / name, pair)
            quality.setdefault(name, []).append(_psnr_db(pair.blur, pair.sharp))
            size = pair.spikes.shape[1:]
    means = {name: round(float(np.mean(values)), 2) for name, values in quality.items()}
    counts = {name: len(values) for name, values in quality.items()}
    mean = round(float(np.mean([value for values in quality.values() for value in values])), 2)
    return {
        "spike_h": size[0],
        "spike_w": size[1],
        "frames": counts,
        "blur_vs_sharp_psnr_db": {"mean": mean, **means},
    }


def _chosen_shots(params: SampleParams) -> Iterator[tuple[int, Shot]]:
    """Shots in use with their number in the clip, counted from 1 in each split."""
    taken: dict[Split, int] = {"train": 0, "val": 0}
    for number, shot in enumerate(CLIPS[params.clip].shots, 1):
        full = params.shots_per_split is not None and taken[shot.split] >= params.shots_per_split
        if full or shot.stop - shot.first <= params.averaged:
            continue
        taken[shot.split] += 1
        yield number, shot


def _pairs(source: Path, shot: Shot, params: SampleParams, seed: int) -> Iterator[_Pair]:
    """The blurry pictures of a shot; one camera watches all of it without a pause."""
    frames = read_frames(source, shot, params.scale)
    first = next(frames)
    flow = SubframeInterpolator(*first.shape[:2])
    camera: SpikeCamera | None = None
    windows = (shot.stop - shot.first - 1) // params.averaged
    for window in range(min(windows, params.windows_per_shot or windows)):
        exposure = _Exposure()
        for offset in range(params.averaged):
            if offset == params.averaged // 2:
                sharp = first
            second = next(frames)
            for picture in flow.between(first, second, TICKS_PER_FRAME):
                exposure.add(picture)
            first = second
        light = exposure.light()
        if camera is None:
            seeds = np.random.SeedSequence([params.seed, seed]).generate_state(1)
            camera = SpikeCamera(*light.shape[1:], theta=params.theta, seed=int(seeds[0]))
        number = shot.first + window * params.averaged + params.averaged // 2
        spikes = camera.expose(light)
        yield _Pair(number, exposure.mean(), exposure.linear_mean(), sharp, spikes)


class _Exposure:
    """Sums of the sub-frames of one blurry picture, in both light domains."""

    _TO_LINEAR = (np.arange(256) / 255.0).astype(np.float32) ** np.float32(GAMMA)

    def __init__(self) -> None:
        self._sum: FloatArray | float = 0.0
        self._linear: FloatArray | float = 0.0
        self._light: list[FloatArray] = []

    def add(self, picture: ByteArray) -> None:
        self._sum = self._sum + picture.astype(np.float32)
        self._linear = self._linear + self._TO_LINEAR[picture]
        gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        half = (gray.shape[1] // 2, gray.shape[0] // 2)
        small = cv2.resize(gray.astype(np.float32), half, interpolation=cv2.INTER_AREA)
        self._light.append(np.asarray(small, np.float32) / np.float32(255.0))

    def light(self) -> FloatArray:
        return np.clip(np.stack(self._light), 0.0, 1.0)

    def mean(self) -> ByteArray:
        """Plain mean of the 8-bit sub-frames, as GoPro's `blur`."""
        return np.rint(self._sum / np.float32(len(self._light))).astype(np.uint8)

    def linear_mean(self) -> ByteArray:
        """Mean of the light itself with the display curve put back, as GoPro's `blur_gamma`."""
        mean = np.asarray(self._linear) / np.float32(len(self._light))
        return np.rint(255.0 * mean ** np.float32(1.0 / GAMMA)).astype(np.uint8)


def _write_pair(folder: Path, pair: _Pair) -> None:
    stem = f"{pair.number:06d}"
    for kind in ("blur", "blur_gamma", "sharp"):
        picture: ByteArray = getattr(pair, kind)
        path = folder / kind / f"{stem}.png"
        if not cv2.imwrite(str(path), np.ascontiguousarray(picture[:, :, ::-1])):
            raise DataError(f"{path}: cannot write the picture (is the disk full?)")
    write_dat(folder / "spike" / f"{stem}.dat", encode(pair.spikes))


def _psnr_db(first: ByteArray, second: ByteArray) -> float:
    error = float(np.mean((first.astype(np.float64) - second) ** 2))
    return 99.0 if error == 0 else float(10 * np.log10(255.0**2 / error))


def _finish(folder: Path, params: SampleParams, source: Path, facts: dict[str, Any]) -> None:
    """Write `config.yaml`, then the manifest that lists every file with its size."""
    generator = {**dataclasses.asdict(params), "version": GENERATOR_VERSION}
    origin = f"{source.name} of the package {PACKAGE}, taken as if filmed at {ASSUMED_FPS} fps"
    common = {
        "theta": params.theta,
        "tick_rate_hz": ASSUMED_FPS * TICKS_PER_FRAME,
        "ticks_per_frame": TICKS_PER_FRAME * params.averaged,
        "light_domain": "gamma",
        "source": origin,
        "generator": generator,
    }
    write_spike_config(
        folder,
        {
            "filename": f"{params.clip}_sample",
            "spike_h": facts["spike_h"],
            "spike_w": facts["spike_w"],
            "is_labeled": False,
            "labeled_data_type": [0],
            **common,
        },
    )
    listed = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = {str(path.relative_to(folder)): path.stat().st_size for path in listed}
    text = json.dumps({**facts, **common, "files": sizes}, indent=1)
    replace_file(folder / MANIFEST, text.encode())


def build_parser() -> argparse.ArgumentParser:
    """The command line's parser."""
    parser = argparse.ArgumentParser(
        prog="python -m vrtspike.data.sample_video",
        description="Make the demo data set (blurry frames, sharp frames, spikes) from real video.",
    )
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="default: %(default)s")
    parser.add_argument("--size", choices=SIZES, default="demo", help="default: %(default)s")
    parser.add_argument("--clip", choices=CLIPS, help="another clip than the size's own")
    parser.add_argument("--averaged", type=int, metavar="N", help="frames in a blurry picture")
    parser.add_argument("--scale", type=float, help="size of the video, 1 = as it is")
    parser.add_argument("--seed", type=int, help="first state of the simulated spike camera")
    return parser


def _summary(root: Path, seconds: float, made: bool) -> tuple[str, str, str]:
    manifest = read_manifest(root)
    frames = manifest["frames"]
    mib = sum(manifest["files"].values()) / 2**20
    splits = {s: sum(n for k, n in frames.items() if k.startswith(s)) for s in ("train", "val")}
    did = f"made in {seconds:.1f} s" if made else "already there, made from the same parameters"
    return (
        f"{root}: {did}",
        f"  {splits['train']} train and {splits['val']} val frames from {len(frames)} shots, "
        f"{manifest['ticks_per_frame']} ticks of {manifest['spike_h']}x{manifest['spike_w']} "
        f"spikes each, {mib:.1f} MiB",
        f"  blurry against sharp: {manifest['blur_vs_sharp_psnr_db']['mean']:.2f} dB PSNR",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    chosen = {name: getattr(arguments, name) for name in ("clip", "averaged", "scale", "seed")}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    start = time.perf_counter()
    try:
        params = dataclasses.replace(SIZES[arguments.size], **chosen)
        earlier = read_manifest(arguments.out).get("key")
        root = make_sample_dataset(arguments.out, params)
        made = read_manifest(root).get("key") != earlier
        for line in _summary(root, time.perf_counter() - start, made):
            print_line(line)
    except (VRTSpikeError, OSError) as error:
        print_error(f"error: {error}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
