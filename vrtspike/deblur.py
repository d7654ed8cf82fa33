"""`python -m vrtspike.deblur`: sharpen a video or a folder of frames with a trained model."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vrtspike.errors import ConfigError, DataError, VRTSpikeError
from vrtspike.standard_output import print_error

if TYPE_CHECKING:
    from vrtspike.engine.deblurring import DeblurRequest

_EPILOG = """\
INPUT and OUTPUT may each be a video (.mp4 .m4v .mov .mkv .avi) or a folder of pictures.
Without --spikes the spikes are simulated from INPUT itself; they then tell the model nothing
that the frames do not show.

exit codes: 0 done, 2 wrong input, 130 after Ctrl-C
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line's parser."""
    parser = argparse.ArgumentParser(
        prog="python -m vrtspike.deblur",
        description="Sharpen a video or a folder of frames with a trained model.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", type=Path, metavar="INPUT", help="video, or folder of pictures")
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE")
    parser.add_argument("--out", type=Path, required=True, metavar="OUTPUT")
    parser.add_argument(
        "--spikes", type=Path, metavar="FOLDER", help=".dat files, one for each frame"
    )
    parser.add_argument(
        "--metrics",
        nargs="?",
        const="",
        metavar="SHARP",
        help="print PSNR and SSIM against sharp frames: a video or folder; by default the folder "
        "'sharp' beside INPUT",
    )
    parser.add_argument("--tile", type=int, default=256, metavar="PIXELS", help="default: 256")
    parser.add_argument("--overlap", type=int, default=32, metavar="PIXELS", help="default: 32")
    parser.add_argument(
        "--frames",
        type=int,
        metavar="T",
        help="frames in a clip; default: as in the training",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    asked = build_parser().parse_args(argv)
    try:
        from vrtspike.engine.deblurring import deblur  # PyTorch: not for --help

        deblur(_request(asked))
    except VRTSpikeError as error:
        print_error(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _request(asked: argparse.Namespace) -> "DeblurRequest":
    from vrtspike.engine.deblurring import DeblurRequest

    if asked.tile < 16 or not 0 <= asked.overlap <= asked.tile - 8:
        raise ConfigError(
            f"--tile {asked.tile} --overlap {asked.overlap}: a tile has at least 16 pixels, of "
            "which at least 8 are not shared"
        )
    if asked.frames is not None and asked.frames < 2:
        raise ConfigError(f"--frames {asked.frames}: a clip has at least 2 frames")
    return DeblurRequest(
        source=asked.input,
        checkpoint=asked.checkpoint,
        output=asked.out,
        spikes=asked.spikes,
        sharp=_sharp(asked),
        tile=asked.tile,
        overlap=asked.overlap,
        frames=asked.frames,
        device=asked.device,
    )


def _sharp(asked: argparse.Namespace) -> Path | None:
    if asked.metrics != "":
        return None if asked.metrics is None else Path(asked.metrics)
    beside: Path = asked.input.resolve().parent / "sharp"
    if not beside.is_dir():
        raise DataError(f"{beside}: no such folder; give --metrics the sharp frames")
    return beside


if __name__ == "__main__":
    sys.exit(main())
