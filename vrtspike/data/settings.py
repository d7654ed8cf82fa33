"""What a configuration file may say about data (`DATA`, `DATALOADER`); needs no PyTorch."""

from dataclasses import dataclass, field
from typing import Literal

VoxelMode = Literal["flat", "documented"]
BadSamples = Literal["stop", "skip"]
SampleOrder = Literal["shuffled", "grouped"]
BlurFolder = Literal["blur", "blur_gamma"]
MAX_WORKERS = 1024
MAX_PREFETCH = 1024
MAX_CACHE_GIB = 2**30
"""More than any machine has; beyond it bytes would no longer be whole numbers that fit."""
SPLIT_RULE = "must name a folder in the data set, without '.', '..' or empty parts"


def is_split_name(name: str) -> bool:
    """Whether a split, as a relative path, can lead nowhere but into its data set."""
    return not {"", ".", ".."}.intersection(name.split("/"))


@dataclass(frozen=True, kw_only=True)
class CropStage:
    """One step of progressive training: this crop until that epoch (exclusive, counted from 0)."""

    until_epoch: int
    crop_size: int


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """`DATA`: where the clips lie and what is cut out of them.

    `crop_size` and `val_crop_size` are in RGB pixels; a `val_crop_size` of null means the whole
    frame. `cache_size_gb` is in GiB and is one budget for the machine, whatever the number of
    workers and ranks. The cache lies in memory, or in a file of `cache_dir` that needs no cleaning
    up. `sample_order` grouped loads `group_samples` neighbours of a clip close together, which is
    what lets a cache smaller than the data set hit. `fast_store` is a folder that
    `python -m vrtspike.data.fast_store` made: pictures and spikes are read from it, and the cache
    is not needed for them. `lean_samples` hands bytes over and lets the
    training device make floats of them; auto does so for a GPU. `bad_samples` skip goes on
    without samples that cannot be loaded, until they are more than `max_bad_share` of an epoch's.
    """

    root: str
    train_split: str = "train"
    val_split: str = "val"
    blur_dir: BlurFolder = "blur"
    spike_dir: str = "spike"
    voxel_cache_dirname: str = "spike_vox"
    clip_len: int = 5
    crop_size: int = field(default=256, metadata={"alias": "TRAIN_CROP_SIZE"})
    val_crop_size: int | None = None
    crop_schedule: tuple[CropStage, ...] = ()
    k: int = field(default=32, metadata={"alias": "NUM_VOXEL_BINS"})
    voxel_mode: VoxelMode = "flat"
    use_precomputed_voxels: bool = False
    use_ram_cache: bool = False
    cache_size_gb: float = 4.0
    cache_dir: str | None = None
    fast_store: str | None = None
    sample_order: SampleOrder = "shuffled"
    group_samples: int = 16
    lean_samples: Literal["auto"] | bool = "auto"
    augment: bool = True
    bad_samples: BadSamples = "stop"
    max_bad_share: float = 0.01

    def __post_init__(self) -> None:
        if not 0.0 <= self.max_bad_share < 1.0:
            raise ValueError(f"max_bad_share: must lie in [0, 1), got {self.max_bad_share}")
        for name in ("train_split", "val_split"):
            if not is_split_name(split := getattr(self, name)):
                raise ValueError(
                    f"{name}: must name a folder in the data set, without '.', '..' or empty "
                    f"parts, got {split!r}"
                )
        if self.group_samples < 1:
            raise ValueError(f"group_samples: must be at least 1, got {self.group_samples}")
        if self.clip_len < 2:
            raise ValueError(f"clip_len: at least 2 frames are needed, got {self.clip_len}")
        if self.k < 1:
            raise ValueError(f"k: at least 1 voxel bin is needed, got {self.k}")
        if not self.cache_size_gb >= 0:  # not a number is neither
            raise ValueError(f"cache_size_gb: must not be negative, got {self.cache_size_gb}")
        if self.cache_size_gb > MAX_CACHE_GIB:
            raise ValueError(
                f"cache_size_gb: must be at most {MAX_CACHE_GIB}, got {self.cache_size_gb}"
            )
        crops = [("crop_size", self.crop_size)]
        crops += [("crop_schedule", stage.crop_size) for stage in self.crop_schedule]
        if self.val_crop_size is not None:
            crops.append(("val_crop_size", self.val_crop_size))
        for name, crop in crops:
            if crop < 16 or crop % 8:
                raise ValueError(f"{name}: must be a multiple of 8, at least 16, got {crop}")
        ends = [stage.until_epoch for stage in self.crop_schedule]
        if ends != sorted(set(ends)):
            raise ValueError(
                f"crop_schedule: until_epoch must grow from entry to entry, got {ends}"
            )

    def hands_over_bytes(self, *, cuda: bool) -> bool:
        """Whether the training device finishes the samples."""
        return cuda if self.lean_samples == "auto" else self.lean_samples

    @property
    def fills_cache(self) -> bool:
        """Whether anything is kept in the cache: what a fast store holds is not."""
        return self.use_ram_cache and (self.fast_store is None or self.use_precomputed_voxels)

    def crop_size_at(self, epoch: int) -> int:
        """The training crop in pixels of an epoch; `crop_size` after the schedule's last entry."""
        for stage in self.crop_schedule:
            if epoch < stage.until_epoch:
                return stage.crop_size
        return self.crop_size


@dataclass(frozen=True, kw_only=True)
class DataLoaderConfig:
    """`DATALOADER`: worker processes; `total_workers` counts all ranks of one machine together.

    `batch_timeout_s` is how long a single batch may take before the run ends, with the name of the
    file that is being read; null for ever. Ten seconds more where a process stands still in the
    middle of handing a batch over. Shorter than `TRAIN.COLLECTIVE_TIMEOUT_S`, so that the rank that
    hangs is heard first.
    """

    total_workers: int | Literal["auto"] = "auto"
    train_prefetch_factor: int = 4
    val_prefetch_factor: int = 2
    pin_memory: bool = True
    persistent_workers: bool = True
    drop_last: bool = True
    batch_timeout_s: float | None = 300.0

    def __post_init__(self) -> None:
        if self.batch_timeout_s is not None and self.batch_timeout_s <= 0:
            raise ValueError(f"batch_timeout_s: must be positive, got {self.batch_timeout_s}")
        if isinstance(self.total_workers, int) and self.total_workers < 0:
            raise ValueError(f"total_workers: must not be negative, got {self.total_workers}")
        if isinstance(self.total_workers, int) and self.total_workers > MAX_WORKERS:
            raise ValueError(
                f"total_workers: must be at most {MAX_WORKERS}, got {self.total_workers}; "
                "each is a process"
            )
        for name in ("train_prefetch_factor", "val_prefetch_factor"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1, got {getattr(self, name)}")
            if getattr(self, name) > MAX_PREFETCH:
                raise ValueError(
                    f"{name}: must be at most {MAX_PREFETCH}, got {getattr(self, name)}; "
                    "each is a batch in memory"
                )
