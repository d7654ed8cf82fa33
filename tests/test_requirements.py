"""The exact list and the ranges of pyproject.toml agree, and the list is the whole of it."""

import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LINES = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if line[:1] != "#"]
LOCKED = {canonicalize_name(name): version for name, version in (x.split("==") for x in LINES)}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# What torch brings on its own, different for each of its builds, is deliberately not listed.
BROUGHT_BY_TORCH = re.compile(r"(pytorch-)?triton|cuda-|nvidia-(?!ml-py)")


def wanted() -> list[Requirement]:
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    build = PROJECT["build-system"]["requires"]
    texts = [*project["dependencies"], *extras["sample"], *extras["dev"], *build]
    return [Requirement(text) for text in texts]


def required_by(name: str) -> Iterator[Requirement]:
    for text in metadata.requires(name) or []:
        requirement = Requirement(text)
        marker = requirement.marker
        applies = marker is None or marker.evaluate({"extra": ""})
        if applies and not BROUGHT_BY_TORCH.match(requirement.name):
            yield requirement


def everything_wanted() -> list[Requirement]:
    """The requirements of pyproject.toml, and those of the packages that they bring."""
    waiting, seen, every = wanted(), set[str](), list[Requirement]()
    while waiting:
        requirement = waiting.pop()
        every.append(requirement)
        if requirement.name not in seen:
            seen.add(requirement.name)
            waiting.extend(required_by(requirement.name))
    return every


def test_each_line_is_a_name_and_an_exact_version() -> None:
    assert [x for x in LINES if not re.fullmatch(r"[\w.-]+==[\w.]+", x)] == []
    assert sorted(LINES, key=str.casefold) == LINES


def test_torch_is_locked_without_naming_a_build() -> None:
    assert LOCKED["torch"] == "2.13.0"


def test_the_list_satisfies_every_requirement() -> None:
    faults = [
        f"{requirement}: {LOCKED.get(canonicalize_name(requirement.name))}"
        for requirement in everything_wanted()
        if not requirement.specifier.contains(
            LOCKED.get(canonicalize_name(requirement.name), "0"), prereleases=True
        )
        or canonicalize_name(requirement.name) not in LOCKED
    ]
    assert faults == []


def test_the_list_names_nothing_that_is_not_needed() -> None:
    needed = {canonicalize_name(requirement.name) for requirement in everything_wanted()}
    assert set(LOCKED) - needed == set()


def test_the_environment_holds_the_listed_versions() -> None:
    installed = {name: metadata.version(name).split("+")[0] for name in LOCKED}
    assert installed == LOCKED
