"""Every GPU of the machine through NVML, instances of divided ones (MIG) as entries of their own.

A field that the driver does not support is null and is said once. A GPU that stops answering is a
fact of the record, not a failure of the sampler; when none answers, the driver may have been
restarted, and they are listed anew from time to time.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pynvml

from vrtspike.profiling import nvml_gpm, nvml_pcie
from vrtspike.profiling.nvml_fields import (
    GONE,
    MEMORY,
    PASSING,
    QUESTIONS,
    UNSUPPORTED,
    Nvml,
    Question,
    text,
)
from vrtspike.profiling.nvml_gpm import Gpm
from vrtspike.profiling.nvml_pcie import PcieThread
from vrtspike.profiling.records import GpuRecord

_MAX_REASON = 200
RELIST_EVERY_S = 30.0
_UNLISTED = "the driver no longer lists it"


class Say(Protocol):
    """Writes down that something happened now."""

    def __call__(self, name: str, **values: float | int | str | None) -> None:
        """The event and its values."""
        ...


@dataclass(frozen=True, kw_only=True)
class GpuIdentity:
    """Which GPU, or which instance of one; `index` is the whole GPU's in either case."""

    index: int
    mig_index: int | None = None
    uuid: str | None = None
    parent_uuid: str | None = None
    name: str | None = None


class GpuReader:
    """Reads one GPU or one instance.

    Args:
        nvml: The pynvml module, or a stand-in for it.
        identity: Whose it is.
        handle: NVML's; None when it could not be opened.
        gpm: Its performance metrics.
        say: Hears of fields that are not supported, of errors and of their end.
        error: Why it could not be opened.
    """

    def __init__(
        self,
        nvml: Nvml,
        identity: GpuIdentity,
        handle: Any,
        gpm: Gpm | None,
        say: Say,
        error: str | None = None,
    ) -> None:
        self.identity = identity
        self.handle = handle
        self.gpm = gpm
        self._nvml = nvml
        self._say = say
        self._error = error
        self._is_gone = False
        self._said_error: str | None = None
        whole = identity.mig_index is None
        self._questions: list[Question] = list(QUESTIONS if whole else (MEMORY,))
        self._unsupported: set[str] = set()
        self._said: set[str] = set()

    @property
    def is_gone(self) -> bool:
        """Whether nothing was read at the last sample."""
        return self._is_gone

    def sample(self, pcie: dict[str, float], pcie_untold: bool) -> GpuRecord:
        """Its record now, with PCIe figures that were measured elsewhere."""
        values: dict[str, Any] = {}
        if self.handle is not None:
            self._error, self._is_gone = None, False
            for question in tuple(self._questions):
                values.update(self._ask(question))
            measured = self._read_gpm()
            # Utilisation by NVML's old call, where there is one: of instances there is none.
            values = {**measured, **pcie, **values}
        else:
            self._is_gone = True
        self._say_changes(pcie_untold)
        return GpuRecord(**vars(self.identity), error=self._error, **values)

    def inherit(self, before: "GpuReader | None") -> None:
        """Takes over what was said about the same GPU before it was listed anew."""
        if before is not None:
            self._said, self._said_error = before._said, before._said_error

    def close(self) -> None:
        """Lets go of what it reads from."""
        if self.gpm is not None:
            self.gpm.close()

    def _ask(self, question: Question) -> dict[str, Any]:
        if self._is_gone:
            return {}
        try:
            return dict(question.ask(self._nvml, self.handle))
        except pynvml.NVMLError as error:
            if error.value in UNSUPPORTED:
                self._questions.remove(question)
                self._unsupported.update(question.fields)
            else:
                self._note(error)
            return {}

    def _read_gpm(self) -> dict[str, float]:
        if self.gpm is None or self._is_gone:
            return {}
        try:
            return self.gpm.read()
        except pynvml.NVMLError as error:
            self._note(error)
            return {}

    def _note(self, error: Any) -> None:
        if error.value in PASSING:
            return
        self._error = str(error)[:_MAX_REASON]
        self._is_gone = error.value in GONE

    def _say_changes(self, pcie_untold: bool) -> None:
        where = {"index": self.identity.index, "uuid": self.identity.uuid}
        if self.identity.mig_index is not None:
            where["mig_index"] = self.identity.mig_index
        if self._error != self._said_error:
            if self._error is not None:
                self._say("gpu_error", **where, reason=self._error)
            else:
                self._say("gpu_answers_again", **where)
            self._said_error = self._error
        missing = self._missing(pcie_untold) - self._said if self._error is None else set()
        if missing:
            self._said |= missing
            self._say("gpu_fields_unsupported", **where, fields=" ".join(sorted(missing)))

    def _missing(self, pcie_untold: bool) -> set[str]:
        """What this GPU does not tell; of an instance, what only whole GPUs have is left out."""
        gpm_fields = (f for f in nvml_gpm.FIELDS if f not in nvml_pcie.FIELDS)
        missing = {f for f in gpm_fields if self.gpm is None or not self.gpm.tells(f)}
        if pcie_untold:
            missing.update(nvml_pcie.FIELDS)
        told = {"util_percent"} if self.gpm is not None and self.gpm.tells("util_percent") else {""}
        return missing | (self._unsupported - told)


class Gpus:
    """Every GPU of the machine; `absent_reason` says why there is none.

    Args:
        nvml: The pynvml module, or a stand-in for it.
        say: Hears what happens to GPUs.
        now_s: A steady clock in seconds.
    """

    def __init__(
        self,
        nvml: Nvml = pynvml,
        say: Say | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.absent_reason: str | None = None
        self._nvml = nvml
        self._say: Say = _hear_nothing if say is None else say
        self._now_s = now_s
        self._readers: list[GpuReader] = []
        self._pcie: PcieThread | None = None
        self._listed_s = now_s()
        self.absent_reason = self._list()

    @property
    def identities(self) -> tuple[GpuIdentity, ...]:
        """Who is sampled, in NVML's order."""
        return tuple(reader.identity for reader in self._readers)

    def sample(self) -> tuple[GpuRecord, ...] | None:
        """One record for each GPU and instance, or None where there is none."""
        if self._readers and all(reader.is_gone for reader in self._readers):
            self._relist()
        records = []
        for place, reader in enumerate(self._readers):
            pcie = self._pcie.take(place) if self._pcie else {}
            untold = self._pcie is not None and place in self._pcie.untold
            records.append(reader.sample(pcie, untold))
        return tuple(records) or None

    def close(self) -> None:
        """Lets go of NVML."""
        was_open = bool(self._readers)
        for reader in self._readers:
            reader.close()
        self._readers = []
        pcie, self._pcie = self._pcie, None
        # A call that hangs in the driver would take the shutdown along.
        if (pcie is None or pcie.close()) and was_open:
            try:
                self._nvml.nvmlShutdown()
            except pynvml.NVMLError:
                return  # the driver is gone: nothing is left to let go of

    def _list(self) -> str | None:
        """Opens NVML and all GPUs; the reason where there is none."""
        try:
            self._nvml.nvmlInit()
            count = self._nvml.nvmlDeviceGetCount()
        except pynvml.NVMLError as error:
            return str(error)
        for index in range(count):
            self._readers += _readers_of(self._nvml, index, self._say)
        if not self._readers:
            return "the driver lists no GPU"
        old = {
            place: reader.handle
            for place, reader in enumerate(self._readers)
            if reader.identity.mig_index is None
            and reader.handle is not None
            and not (reader.gpm and reader.gpm.is_supported)
        }
        self._pcie = PcieThread(self._nvml, old)
        return None

    def _relist(self) -> None:
        """Asks for all GPUs anew; those that are no longer listed keep their error."""
        if self._now_s() - self._listed_s < RELIST_EVERY_S:
            return
        self._listed_s = self._now_s()
        before = self._readers
        self.close()
        if self._list() is not None:
            self._readers = before
            return
        self._say("gpus_listed_anew", gpus=len(self._readers), before=len(before))
        known = {reader.identity.uuid: reader for reader in before}
        for reader in self._readers:
            reader.inherit(known.pop(reader.identity.uuid, None))
        for lost in known.values():
            gone = GpuReader(self._nvml, lost.identity, None, None, self._say, _UNLISTED)
            gone.inherit(lost)
            self._readers.append(gone)


def _hear_nothing(name: str, **values: float | int | str | None) -> None:
    """Nobody wants to know."""


def _readers_of(nvml: Nvml, index: int, say: Say) -> Iterator[GpuReader]:
    """One GPU, then its instances if it is divided."""
    handle, uuid, name, error = None, None, None, None
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        uuid = text(nvml.nvmlDeviceGetUUID(handle))
        name = text(nvml.nvmlDeviceGetName(handle))
    except pynvml.NVMLError as failure:
        error = str(failure)[:_MAX_REASON]
    identity = GpuIdentity(index=index, uuid=uuid, name=name)
    gpm = None if handle is None else Gpm(nvml, handle)
    yield GpuReader(nvml, identity, handle, gpm, say, error)
    if handle is not None:
        yield from _instances(nvml, handle, identity, say)


def _instances(nvml: Nvml, device: Any, whole: GpuIdentity, say: Say) -> Iterator[GpuReader]:
    for mig_index in _instance_places(nvml, device):
        try:
            handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(device, mig_index)
            uuid = text(nvml.nvmlDeviceGetUUID(handle))
            name = text(nvml.nvmlDeviceGetName(handle))
            instance_id = int(nvml.nvmlDeviceGetGpuInstanceId(handle))
        except pynvml.NVMLError:
            continue  # a place that no instance takes
        identity = GpuIdentity(
            index=whole.index, mig_index=mig_index, uuid=uuid, parent_uuid=whole.uuid, name=name
        )
        yield GpuReader(nvml, identity, handle, Gpm(nvml, device, instance_id), say)


def _instance_places(nvml: Nvml, device: Any) -> range:
    try:
        current, _ = nvml.nvmlDeviceGetMigMode(device)
        if current != pynvml.NVML_DEVICE_MIG_ENABLE:
            return range(0)
        return range(nvml.nvmlDeviceGetMaxMigDeviceCount(device))
    except pynvml.NVMLError:
        return range(0)


def gpu_absence(nvml: Nvml = pynvml) -> str | None:
    """Why this machine has no NVIDIA GPU to sample, or None if it has one."""
    try:
        nvml.nvmlInit()
    except pynvml.NVMLError as error:
        return str(error)
    try:
        return None if nvml.nvmlDeviceGetCount() else "the driver lists no GPU"
    except pynvml.NVMLError as error:
        return str(error)
    finally:
        with contextlib.suppress(pynvml.NVMLError):  # a driver that dies right now ends no training
            nvml.nvmlShutdown()
