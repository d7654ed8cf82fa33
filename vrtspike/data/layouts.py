"""Where the frames of a data set lie: the unified tree, raw GoPro with spikes, and KAIR's names.

    unified  <root>/<split>/**/<clip>/{blur,sharp,spike,spike_vox}/<frame>.{png,dat,npy}
    raw      <root>/GOPRO_Large/<split>/<clip>/{blur,blur_gamma,sharp}/<frame>.png
             <root>/GOPRO_Large_spike_seq/<split>/<clip>/spike/<frame>.dat
    KAIR     <root>/GOPRO_Large/<split>_GT/<clip>/<frame>.png and <split>_GT_blurred, spikes as raw

`<root>` may also be the folder `GOPRO_Large` itself, with the spikes beside it.
"""

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from vrtspike.data.settings import DataConfig
from vrtspike.data.spike_config import GOPRO_DEFAULT, SpikeConfig, find_spike_config
from vrtspike.errors import DataError

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
GOPRO = "GOPRO_Large"
GOPRO_SPIKES = "GOPRO_Large_spike_seq"
SHARP = "sharp"
_GOPRO_NAME = re.compile(r"GOPR\d+_(\d{2})_\d{2}")
_MAX_DEPTH = 6
TICKS_PER_FRAME = 8
"""Spike ticks for each 240 fps frame of GoPro+Spike."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One moment: its number in the clip and its files; what is not there is None."""

    number: int
    blur: Path
    sharp: Path | None
    spikes: Path | None
    voxels: Path | None


@dataclass(frozen=True)
class Clip:
    """A sequence of frames in order. `sensor` is None where nothing tells the spike size."""

    name: str
    frames: tuple[Frame, ...]
    sensor: SpikeConfig | None
    folder: Path

    @property
    def expected_ticks(self) -> int | None:
        """Ticks of one spike file: as config.yaml says, else 8 for each frame averaged.

        The name of a GoPro clip, GOPRxxxx_NN_kk, says how many 240 fps frames were averaged: NN.
        """
        if self.sensor is not None and self.sensor.ticks_per_frame is not None:
            return self.sensor.ticks_per_frame
        found = _GOPRO_NAME.search(self.name)
        return TICKS_PER_FRAME * int(found.group(1)) if found else None


@dataclass(frozen=True)
class _Folders:
    """Folders of one clip, before its files are listed."""

    name: str
    home: Path
    blur: Path
    sharp: Path
    spikes: Path
    voxels: Path
    top: Path


def missing(folder: Path) -> str:
    """Why a path is no folder to read from, in words."""
    try:
        folder.stat()
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "is not a folder"


def find_clips(config: DataConfig, split: str, spikes: Path | None = None) -> list[Clip]:
    """All clips of a split in any of the layouts, by name.

    Args:
        config: `DATA`; its root and folder names are used.
        split: folder name of the split.
        spikes: where `<split>/<clip>/spike` lie if not in or beside the root.

    Raises:
        DataError: the root or the split is missing, or holds no clip; the line says what to do.
    """
    root = Path(config.root)
    if not _is_folder(root):
        raise DataError(
            f"DATA.ROOT {root} {missing(root)}; make it from GoPro and its spikes "
            f"(python -m vrtspike.data.prepare --help), or set DATA.ROOT=data/sample and make "
            "demo data there: python -m vrtspike.data.sample_video"
        )
    if not os.access(root, os.X_OK):
        raise DataError(f"DATA.ROOT {root} cannot be read: this user may not enter it")
    clips = [_clip(folders) for folders in _clip_folders(root, split, config, spikes)]
    if not clips:
        raise DataError(_nothing_found(root, split, config))
    return sorted(clips, key=lambda clip: clip.name)


def splits_in(root: Path) -> list[str]:
    """Names of the splits a root seems to hold, in any layout."""
    names: set[str] = set()
    for base in _bases(root):
        for entry in base.iterdir():
            if _is_folder(entry) and not entry.name.startswith((".", GOPRO)):
                names.add(entry.name.removesuffix("_GT_blurred").removesuffix("_GT"))
    return sorted(names)


def _nothing_found(root: Path, split: str, config: DataConfig) -> str:
    known = splits_in(root)
    if split not in known:
        there = ", ".join(known) if known else "nothing that looks like a split"
        return f"DATA.ROOT {root} has no split {split!r}; it has: {there}"
    return (
        f"{root / split}: no clip found; a clip is a folder with {config.blur_dir}/, {SHARP}/ and "
        f"{config.spike_dir}/ (make one with: python -m vrtspike.data.prepare)"
    )


def _bases(root: Path) -> list[Path]:
    return [base for base in (root, root / GOPRO) if _is_folder(base)]


def _clip_folders(
    root: Path, split: str, config: DataConfig, spikes: Path | None
) -> Iterator[_Folders]:
    for base in _bases(root):
        for home in _walk(base / split, 0):
            if _is_there(home / config.blur_dir) and _is_there(home / SHARP):
                name = home.relative_to(base / split).as_posix()
                inside = home / config.spike_dir
                found = inside, base
                if not _is_folder(inside):
                    found = _separate_spikes(base, spikes, f"{split}/{name}/{config.spike_dir}")
                yield _folders(home, name if name != "." else home.name, config, found)
        for home in sorted(path for path in _entries(base / f"{split}_GT") if _is_folder(path)):
            found = _separate_spikes(base, spikes, f"{split}/{home.name}/{config.spike_dir}")
            yield _kair_folders(home, config, base / f"{split}_GT_blurred", found)


def _folders(
    home: Path, name: str, config: DataConfig, spikes_and_top: tuple[Path, Path]
) -> _Folders:
    return _Folders(
        name=name,
        home=home,
        blur=home / config.blur_dir,
        sharp=home / SHARP,
        spikes=spikes_and_top[0],
        voxels=home / config.voxel_cache_dirname,
        top=spikes_and_top[1],
    )


def _kair_folders(
    home: Path, config: DataConfig, blurred: Path, spikes_and_top: tuple[Path, Path]
) -> _Folders:
    if config.blur_dir != "blur":
        raise DataError(
            f"{home.parent}: this layout keeps one kind of blurry picture only; "
            "set DATA.BLUR_DIR: blur"
        )
    folders = _folders(home, home.name, config, spikes_and_top)
    return replace(folders, blur=blurred / home.name, sharp=home)


def _separate_spikes(base: Path, spikes: Path | None, inner: str) -> tuple[Path, Path]:
    """The spike folder of a clip whose pictures lie elsewhere, and the top of its tree."""
    tops = [spikes] if spikes else [base / GOPRO_SPIKES, base.parent / GOPRO_SPIKES]
    top = next((top for top in tops if _is_folder(top / inner)), tops[-1])
    return top / inner, top


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    """`folder` and the folders in it, links followed, to a depth that ends loops of links."""
    if not _is_folder(folder):
        return
    yield folder
    if depth < _MAX_DEPTH:
        for entry in sorted(_entries(folder)):
            if _is_folder(entry) and not entry.name.startswith("."):
                yield from _walk(entry, depth + 1)


def _is_folder(path: Path) -> bool:
    """False, too, for what may not be looked at: others' files may lie in the tree."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _is_there(folder: Path) -> bool:
    """Whether a part of a clip is there.

    Raises:
        DataError: a link to it leads nowhere, or nobody may look: a clip less is no small thing.
    """
    try:
        return stat.S_ISDIR(folder.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError) as error:
        if not os.path.islink(folder):  # noqa: PTH114 - Path's own passes errors on
            return False
        reason = str(error.strerror)
    except OSError as error:
        reason = str(error.strerror)
    raise DataError(
        f"{folder}: cannot be looked at: {reason}: mount or move back what it leads to, let this "
        "user in, or take the clip away"
    )


def _entries(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            yield from [folder / entry.name for entry in entries]
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(f"{folder}: cannot list it: {error.strerror}") from error


def _clip(folders: _Folders) -> Clip:
    blur = _by_stem(folders.blur, PICTURES)
    sharp = _by_stem(folders.sharp, PICTURES)
    spikes = _by_stem(folders.spikes, (".dat",))
    voxels = _by_stem(folders.voxels, (".npy",))
    frames = tuple(
        Frame(
            number=int(stem) if stem.isdecimal() else position,
            blur=path,
            sharp=sharp.get(stem),
            spikes=spikes.get(stem),
            voxels=voxels.get(stem),
        )
        for position, (stem, path) in enumerate(sorted(blur.items()))
    )
    sensor = find_spike_config(folders.spikes, folders.top)
    if sensor is None and _GOPRO_NAME.search(folders.name):
        sensor = GOPRO_DEFAULT
    return Clip(name=folders.name, frames=frames, sensor=sensor, folder=folders.home)


def _by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    return {
        path.stem: path
        for path in _entries(folder)
        if path.suffix.lower() in suffixes and not path.name.startswith(".")
    }


def window_starts(clip: Clip, length: int, *, voxels: bool, stride: int = 1) -> list[int]:
    """Positions where `length` complete frames follow each other without a gap.

    Args:
        clip: the clip.
        length: frames in a window.
        voxels: a complete frame has a voxel file (else a spike file).
        stride: distance of window starts; the last possible window is always taken, so that
            every frame of an unbroken run is in at least one window.
    """
    starts: list[int] = []
    for first, stop in _runs(clip, voxels=voxels):
        last = stop - length
        if last < first:
            continue
        starts += list(range(first, last + 1, stride))
        if starts[-1] != last:
            starts.append(last)
    return starts


def is_complete(frame: Frame, *, voxels: bool) -> bool:
    """The frame has its sharp picture and its spikes (or precomputed voxels)."""
    return frame.sharp is not None and (frame.voxels if voxels else frame.spikes) is not None


def _runs(clip: Clip, *, voxels: bool) -> Iterator[tuple[int, int]]:
    """Stretches [first, stop) of complete frames whose numbers grow by the clip's usual step."""
    frames = clip.frames
    steps = Counter(b.number - a.number for a, b in pairwise(frames))
    usual = steps.most_common(1)[0][0] if steps else 1
    first = 0
    for position, frame in enumerate(frames):
        gap = position > first and frame.number - frames[position - 1].number != usual
        whole = is_complete(frame, voxels=voxels)
        if gap or not whole:
            if position > first:
                yield first, position
            first = position if whole else position + 1
    if first < len(frames):
        yield first, len(frames)
