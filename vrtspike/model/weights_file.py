"""What goes wrong when PyTorch reads a file that it did not write."""

import pickle
import struct

UNREADABLE = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ImportError,
    struct.error,
    OverflowError,
    MemoryError,
)
"""What torch.load lets through for files that are cut short, damaged, or something else."""
