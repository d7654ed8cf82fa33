"""Sharpening one film with a checkpoint's model."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vrtspike.config import Config
from vrtspike.data.spike_stream import ByteArray
from vrtspike.engine.clip_model import Clips, call_model, least_side
from vrtspike.engine.distributed import choose_device
from vrtspike.engine.film import Film, check_output, create_film, open_film
from vrtspike.engine.film_spikes import FilmSpikes, RecordedSpikes, SimulatedSpikes
from vrtspike.engine.precision import choose_precision
from vrtspike.engine.quality import SSIM_WINDOW, QualitySums
from vrtspike.engine.restoration import Cutting, FilmRestorer
from vrtspike.engine.stored_model import load_model
from vrtspike.errors import DataError, VRTSpikeError
from vrtspike.standard_output import print_line


@dataclass(frozen=True, kw_only=True)
class DeblurRequest:
    """What the command line asked for; sizes in pixels, `frames` of None is the trained length."""

    source: Path
    checkpoint: Path
    output: Path
    spikes: Path | None = None
    sharp: Path | None = None
    tile: int = 256
    overlap: int = 32
    frames: int | None = None
    device: str = "auto"


class CheckpointModel:
    """The model of a checkpoint, built from the configuration inside it."""

    def __init__(self, path: Path, device: torch.device) -> None:
        """Read, build and load; raises CheckpointError or ConfigError naming the file."""
        stored = load_model(path, device)
        self.config = stored.config
        self._model = stored.model
        self._device = device
        self._precision = choose_precision(self.config.train, device)

    @torch.no_grad()
    def __call__(self, clips: Clips) -> Tensor:
        """Restore clips; the result is on the model's device."""
        vox = clips.spike_vox
        moved = Clips(clips.blur.to(self._device), None if vox is None else vox.to(self._device))
        with self._precision.autocast():
            return call_model(self._model, moved, use_spike=self.config.model.use_spike)


def deblur(request: DeblurRequest) -> None:
    """Write the sharpened film, and print its quality if sharp frames were given.

    Raises:
        VRTSpikeError: an input is missing, broken or does not fit, or memory ran out; one line.
    """
    check_output(request.output)
    for given in (request.source, request.sharp):
        if given is not None and given.exists() and _same(given, request.output):
            raise DataError(f"{request.output}: is an input and is not overwritten; choose another")
    film = open_film(request.source)
    sharp = None if request.sharp is None else _open_sharp(request.sharp, film)
    model = CheckpointModel(request.checkpoint, choose_device(request.device))
    spikes = _spikes(request, film, model.config)
    restorer = FilmRestorer(
        model, least_side(model.config), _cutting(request, model.config), spikes
    )
    sums = QualitySums()
    try:
        with create_film(request.output, film.size, film.fps) as writer:
            originals = _Tee(film.frames())
            restored = restorer.restore(originals, len(film.names))
            others = iter(()) if sharp is None else sharp.frames()
            for done, (name, picture) in enumerate(zip(film.names, restored, strict=True), 1):
                writer.write(name, picture)
                blurry = originals.oldest()
                if sharp is not None:
                    sums.add(_tensor(picture), _tensor(next(others)), _tensor(blurry))
                _say_progress(done, len(film.names))
    except torch.OutOfMemoryError as error:
        raise VRTSpikeError(
            f"GPU memory ran out with tiles of {request.tile}: lower --tile or --frames"
        ) from error
    print_line(f"[deblur] {len(film.names)} frames -> {request.output}")
    if sharp is not None:
        print_line(_quality_line(sums))


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)


class _Tee:
    """Frames on their way to the restorer, kept until their result has been compared."""

    def __init__(self, frames: Iterator[ByteArray]) -> None:
        self._frames = frames
        self._kept: list[ByteArray] = []

    def __iter__(self) -> Iterator[ByteArray]:
        for frame in self._frames:
            self._kept.append(frame)
            yield frame

    def oldest(self) -> ByteArray:
        return self._kept.pop(0)


def _open_sharp(path: Path, film: Film) -> Film:
    sharp = open_film(path)
    if len(sharp.names) != len(film.names) or sharp.size != film.size:
        raise DataError(
            f"{path}: {len(sharp.names)} frames of {sharp.size[0]}x{sharp.size[1]}, the input has "
            f"{len(film.names)} of {film.size[0]}x{film.size[1]}"
        )
    if min(sharp.size) < SSIM_WINDOW:
        raise DataError(f"{path}: SSIM needs frames of at least {SSIM_WINDOW} pixels a side")
    return sharp


def _spikes(request: DeblurRequest, film: Film, config: Config) -> FilmSpikes | None:
    if not config.model.use_spike:
        if request.spikes is not None:
            print_line("[deblur] this model takes no spikes: --spikes is left aside")
        return None
    if request.spikes is not None:
        return RecordedSpikes(request.spikes, film.names, film.size, config.data)
    print_line(
        "[deblur] no --spikes: they are simulated from the input itself, so they tell the model "
        "nothing that the frames do not show; expect less than with recorded spikes"
    )
    return SimulatedSpikes(config.data)


def _cutting(request: DeblurRequest, config: Config) -> Cutting:
    frames = request.frames or config.data.clip_len
    return Cutting(
        tile=request.tile, overlap=request.overlap, frames=frames, shared_frames=frames // 3
    )


def _tensor(picture: ByteArray) -> Tensor:
    """RGB uint8 -> (1, 3, H, W) in 0..1."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().div_(255.0).unsqueeze(0)


def _quality_line(sums: QualitySums) -> str:
    quality = sums.means()
    return (
        f"[metrics] {quality.frames} frames | PSNR_RGB={quality.psnr_rgb_db:.2f} "
        f"PSNR_Y={quality.psnr_y_db:.2f} SSIM_Y={quality.ssim_y:.4f} | "
        f"input PSNR_RGB={quality.input_psnr_rgb_db:.2f}"
    )


def _say_progress(done: int, count: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if done == count else ""
        print(f"\r[deblur] {done}/{count} frames", end=end, file=sys.stderr, flush=True)
