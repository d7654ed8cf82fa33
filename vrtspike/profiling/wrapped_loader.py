"""A loader of a loop that is not ours, each fetch measured and told to the loop's steps."""

from collections.abc import Iterable, Iterator
from typing import Any

from vrtspike.profiling.loader_facts import LoaderFacts, tensors_of
from vrtspike.profiling.spans import Value
from vrtspike.profiling.step_loop import StepLoop

_SETTINGS = ("num_workers", "prefetch_factor", "pin_memory", "persistent_workers", "batch_size")


class WrappedLoader:
    """Iterates as the loader does, again and again; all else is the loader's."""

    def __init__(self, loader: Iterable[Any], loop: StepLoop, facts: LoaderFacts) -> None:
        self._loader = loader
        self._loop = loop
        self._facts = facts

    def __iter__(self) -> Iterator[Any]:
        """An epoch; starting the loader counts as waiting for its first batch."""
        loop = self._loop
        with loop.fetch_begins():
            batches = self._facts.fetches(iter(self._loader))
        while True:
            with loop.fetch_begins():
                try:
                    batch = next(batches)
                except StopIteration:
                    break
            loop.batch_came()
            self._facts.copied(tensors_of(batch))
            yield batch
        loop.pause()

    def __len__(self) -> int:
        return len(self._loader)  # type: ignore[arg-type]  # raises as the loader would

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_loader":
            raise AttributeError(name)
        return getattr(self._loader, name)


def loader_settings(loader: object) -> dict[str, Value]:
    """What the loader says of its processes and batches; empty where it is no such loader."""
    if not isinstance(getattr(loader, "num_workers", None), int):
        return {}
    found = ((name, getattr(loader, name, None)) for name in _SETTINGS)
    return {name: value for name, value in found if value is None or isinstance(value, int)}
