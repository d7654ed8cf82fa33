"""How PyTorch, its recorder and the libraries below name what a trace shows; one place for all.

Each pattern is looked for in a name (`re.search`).
"""

import re

PROFILER_STEP = re.compile(r"^ProfilerStep#(\d+)$")
"""A step by `torch.profiler`'s own mark."""

STEP_RANGE = re.compile(
    r"^(?:#+ ?)?(?:\[pl\]\[profile\])?(?:train(?:ing)?[ _]?)?"
    r"(?:run_training_batch|step|iter(?:ation)?)(?:[ _#:/]*(\d+))?(?: ?#+)?$",
    re.IGNORECASE,
)
"""A range of a program's own around a step: `step 12`, `## train_step ##`, `iteration#3`."""

OPTIMIZER_STEP = re.compile(r"^Optimizer\.step#.+\.step$")

DATA_LOADING = re.compile(r"^enumerate\(Data(Loader|Pipe)\)#|^data_wait$")
"""PyTorch's range around a loader's fetch, and the one of our recorder."""

LOADER_FETCH = re.compile(r"^enumerate\(DataLoader\)#.+\.__next__$")

LOADER_ITERATOR = re.compile(r"^enumerate\(DataLoader\)#")

COMMUNICATION = re.compile(r"^(nccl|rccl|mscclpp|oneccl)|\bnccl(Dev)?Kernel", re.IGNORECASE)
"""Kernels that exchange data between ranks."""

HOST_COMMUNICATION = re.compile(r"^(nccl|gloo|mpi|ucc):", re.IGNORECASE)
"""Ranges of the program around such an exchange."""

DEVICE_WAIT = re.compile(r"^(cuda|hip|cu)(Device|Stream|Event|Ctx)Synchronize")
"""Calls in which a thread waits for the device."""

COPY_CALL = re.compile(r"^(cuda|hip)Memcpy|^cuMemcpy")
"""Calls that copy; those of pageable memory return when it is done."""

AUTOGRAD_NODE = re.compile(r"^autograd::engine::evaluate_function: ")
"""What stands before every operator of the backward that the autograd engine runs."""

RANGE = re.compile(
    r"^ProfilerStep#|^enumerate\(Data(Loader|Pipe)\)#|^Optimizer\.(step|zero_grad)#"
    r"|^DistributedDataParallel\.forward$|^## |^nn\.Module: "
)
"""Ranges of the program, which traces of 2021 and before list among the operators."""
