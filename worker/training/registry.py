"""Registries: the function or class for each name or schema of a spec, registered by a decorator."""

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Generic, TypeVar

Key = TypeVar("Key")
Entry = TypeVar("Entry")
Decorated = TypeVar("Decorated")


class Registry(Mapping[Key, Entry], Generic[Key, Entry]):
    """Entries by key. The first look-up imports all modules of one package, in which the entries register themselves.

    COLOURS: Registry[str, Callable[[], str]] = Registry("colour", "shop.colours")
    colour = COLOURS.entry

    @colour("red")                      # in any module of shop/colours/
    def red() -> str: ...
    """

    def __init__(self, noun: str, package: str) -> None:
        """`package`: the name of the package, or of the one module, in which all entries are."""
        self._noun, self._package = noun, package
        self._entries: dict[Key, Entry] = {}
        self._complete = False

    def entry(self, key: Key) -> Callable[[Decorated], Decorated]:
        """A decorator that registers an entry; ValueError if the key has one."""

        def register(decorated: Decorated) -> Decorated:
            if key in self._entries:
                raise ValueError(f"{self._noun} {_name(key)} is registered twice: {self._entries[key]}, {decorated}")
            self._entries[key] = decorated  # type: ignore[assignment]  # a decorator's type cannot have both
            return decorated

        return register

    def __getitem__(self, key: Key) -> Entry:
        """The entry of the key. There is no default: KeyError names the key and those that there are."""
        entries = self._loaded()
        if key not in entries:
            keys = ", ".join(map(_name, entries))
            raise KeyError(f"no {self._noun} {_name(key)} in {self._package}; there are {keys}")
        return entries[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._loaded())

    def __len__(self) -> int:
        return len(self._loaded())

    def _loaded(self) -> dict[Key, Entry]:
        if not self._complete:
            package = import_module(self._package)
            for module in iter_modules(getattr(package, "__path__", [])):
                import_module(f"{self._package}.{module.name}")
            self._complete = True
        return self._entries


def _name(key: object) -> str:
    return key.__name__ if isinstance(key, type) else str(key)
