"""The one family of errors a user of the trainer can meet."""


class VRTSpikeError(Exception):
    """A mistake or fault that the user can act on; printed as one line, exit code 2."""


class ConfigError(VRTSpikeError):
    """The configuration is wrong; the message names file, line, dotted path and what is valid."""


class DataError(VRTSpikeError):
    """A data file or folder is missing or broken; the message names it."""


class ModelError(VRTSpikeError):
    """The model cannot be built, loaded or run as asked."""


class CheckpointError(VRTSpikeError):
    """A checkpoint is missing, broken or does not fit the model."""
