"""How much a training set holds and how often an epoch reads each frame, for the facts of a run.

A cache, or what the kernel keeps of files, spares every reading of a frame but the first: how many
there are, and how much memory that takes, tells what it will gain.
"""

from vrtspike.data.cache_memory import whole_pages
from vrtspike.data.clips import SpikeDeblurDataset
from vrtspike.data.layouts import Frame

Facts = dict[str, float | int | str | None]


def set_facts(train_set: SpikeDeblurDataset) -> Facts:
    """Samples, frames that they read, and the bytes of all frames, in files and decoded.

    Bytes are those of the first frame that each clip gives, times its frames; None where such a
    file cannot be asked. A frame that several samples share counts once in `train_frames` and in
    the bytes, and for each of them in `frame_reads`.
    """
    plan = train_set.order_plan()
    frames = {
        (clip, first + further)
        for clip, first in zip(plan.clips, plan.first_frames, strict=True)
        for further in range(plan.clip_len)
    }
    of_clip: dict[int, list[int]] = {}
    for clip, number in sorted(frames):
        of_clip.setdefault(clip, []).append(number)
    file_bytes: int | None = 0
    decoded_bytes: int | None = 0
    for clip, numbers in of_clip.items():
        sizes = _frame_sizes(train_set, clip, train_set.clips[clip].frames[numbers[0]])
        if sizes is None or file_bytes is None or decoded_bytes is None:
            file_bytes = decoded_bytes = None
            break
        file_bytes += len(numbers) * sizes[0]
        decoded_bytes += len(numbers) * sizes[1]
    return {
        "train_samples": len(train_set),
        "frame_reads": len(train_set) * plan.clip_len,
        "train_frames": len(frames),
        "file_bytes": file_bytes,
        "decoded_bytes": decoded_bytes,
    }


def _frame_sizes(train_set: SpikeDeblurDataset, clip: int, frame: Frame) -> tuple[int, int] | None:
    """Bytes of a frame's files, and of what a cache keeps of it: two pictures and the spikes."""
    spikes = frame.voxels if train_set.config.use_precomputed_voxels else frame.spikes
    paths = [path for path in (frame.blur, frame.sharp, spikes) if path is not None]
    try:
        sizes = {path: path.stat().st_size for path in paths}
    except OSError:  # whoever loads it will say so
        return None
    pair = train_set.frame_pair(clip)
    pictures = sum(path is not None for path in (frame.blur, frame.sharp))
    spike_bytes = 0 if spikes is None else sizes[spikes]
    kept = pictures * whole_pages(pair.height * pair.width * 3) + whole_pages(spike_bytes)
    return sum(sizes.values()), kept
