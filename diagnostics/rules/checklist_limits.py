"""The limits of the checklist, each with its reason and source: data, no code."""

from diagnostics.rules.rule import Threshold

GUIDE = "the performance guide (checklist)"

LOSS_CHANGE = Threshold(0.0, "share of the loss", "a loss that converges falls", GUIDE)
LEAST_LOSSES = Threshold(
    20, "steps", "fewer losses show no trend", "own choice, as for the steps of a verdict"
)
PSNR_BELOW_INPUT = Threshold(
    0.0, "dB", "an output that is no better than its input restores nothing", "own choice"
)
PSNR_DROP = Threshold(
    0.3, "dB", "what the conservative plan may cost", "the performance guide (plans: < 0.3 dB)"
)
SSIM_DROP = Threshold(0.01, "-", "about what 0.3 dB of PSNR go with on blurred video", "own choice")
CHECKPOINTS = Threshold(1, "checkpoints", "work that is not saved is lost", GUIDE)
RATE = Threshold(1.0, "samples/s", "the target is the user's, or the baseline's rate", GUIDE)
NOT_FINITE = Threshold(0, "steps", "one NaN spoils all weights", GUIDE)
GPU_USE = Threshold(90.0, "percent", "the GPU has work nearly all the time", GUIDE)
DATA_TIME = Threshold(10.0, "ms", "the wait for a batch is no part of the step", GUIDE)
CACHE_HIT_RATE = Threshold(0.75, "share of reads", "the cache serves most reads", GUIDE)
LEAST_READS = Threshold(100, "reads", "fewer reads give no rate to speak of", "rule DL002")
GPU_MEMORY = Threshold(
    0.90, "share of the GPU", "room for a peak is left", "torch-tb-profiler (peak > 90 %)"
)
HOST_MEMORY_RISE = Threshold(
    1.0, "GiB over the run", "less is the settling of any run", "TraceML (creep: >= 1 GiB)"
)
LEAST_COURSE = Threshold(
    50, "steps", "a slope over fewer steps is noise", "TraceML (creep: >= 50 steps)"
)
CPU_USE = Threshold(85.0, "percent", "cores are left for a burst", GUIDE)
DATA_WAIT = Threshold(
    0.05,
    "share of the step",
    "a step that does not wait for data does not wait for the disk",
    "torch-tb-profiler (exposed data loading > 5 %)",
)
DISK_STALL = Threshold(
    0.10,
    "share of the time",
    "all tasks at once wait for a disk",
    "own choice, on the kernel's pressure counters (io full), as TraceML's 10 % for the input",
)
