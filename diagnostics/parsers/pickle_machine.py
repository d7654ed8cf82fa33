"""The stack machine of Python's pickles, without the opcodes that reach out of it.

Called by `safe_pickle`, which says what is refused and why.
"""

import mmap
import struct
from collections.abc import Callable
from typing import Any

from diagnostics.language import say

MAX_CONTAINERS = 4_000_000
MAX_OPCODES = 120_000_000
MAX_MARKS = 100
MAX_INT_BYTES = 16
_MAX_TEXT_DIGITS = 40
_MAX_KEY = 1 << 60
_STOP = 0x2E

_REFUSED = {
    "c": "GLOBAL",
    "R": "REDUCE",
    "b": "BUILD",
    "i": "INST",
    "o": "OBJ",
    "P": "PERSID",
    "Q": "BINPERSID",
    "\x81": "NEWOBJ",
    "\x92": "NEWOBJ_EX",
    "\x93": "STACK_GLOBAL",
    "\x82": "EXT1",
    "\x83": "EXT2",
    "\x84": "EXT4",
    "\x96": "BYTEARRAY8",
    "\x97": "NEXT_BUFFER",
    "\x98": "READONLY_BUFFER",
    "\x8f": "EMPTY_SET",
    "\x90": "ADDITEMS",
    "\x91": "FROZENSET",
}
"""Opcodes that name or make something else; no snapshot of PyTorch holds one."""


class RefusedError(Exception):
    """What the file asks for is not plain data, or too much; the reason in one line."""


def _refuse(reason: str) -> None:
    raise RefusedError(reason)


class DamagedError(Exception):
    """The bytes are no whole pickle; the argument says at which of them it shows."""


def plain_value(data: mmap.mmap) -> Any:
    """The value that a pickle of plain data holds.

    Raises:
        RefusedError: it asks for more than that.
        DamagedError: it is no whole pickle.
    """
    machine = _Machine(data)
    try:
        return machine.run()
    except (IndexError, struct.error, TypeError, KeyError, ValueError, AttributeError):
        raise DamagedError(machine.place) from None


class _Machine:
    """The stack machine of pickles, without the opcodes that reach out of it."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.place = 0
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.containers = 0
        self.is_done = False

    def run(self) -> Any:
        """Works through the opcodes up to STOP."""
        table, data = self._table(), self.data
        left = MAX_OPCODES
        while True:
            code = data[self.place]
            self.place += 1
            if code == _STOP:
                break
            table[code]()
            left -= 1
            if not left:
                _refuse(say("it has more than {limit} instructions", limit=MAX_OPCODES))
        value = self.stack.pop()
        if self.stack or self.marks:
            raise ValueError
        return value

    def _table(self) -> list[Callable[[], None]]:
        def unknown() -> None:
            raise ValueError

        table: list[Callable[[], None]] = [unknown] * 256
        for code, name in _REFUSED.items():
            table[ord(code)] = _refusal(name)
        for names, make in _OPCODES.items():
            for code in names:
                table[ord(code)] = make.__get__(self)
        return table

    # What is read from the file --------------------------------------------------------------

    def take(self, count: int) -> bytes:
        """The next bytes."""
        start, self.place = self.place, self.place + count
        if count < 0 or self.place > len(self.data):
            raise IndexError
        return self.data[start : self.place]

    def line(self, limit: int) -> bytes:
        """The next bytes up to the end of the line."""
        end = self.data.find(b"\n", self.place, self.place + limit + 1)
        if end < 0:
            raise ValueError
        text = self.data[self.place : end]
        self.place = end + 1
        return text

    def since_mark(self) -> list[Any]:
        """What was put down since the last mark."""
        items, self.stack = self.stack, self.marks.pop()
        return items

    def container(self, value: Any) -> None:
        """Puts a new container down, if there may be one more."""
        self.containers += 1
        if self.containers > MAX_CONTAINERS:
            _refuse(
                say(
                    "it holds more than {limit} lists and dicts: record fewer entries "
                    "(max_entries)",
                    limit=MAX_CONTAINERS,
                )
            )
        self.stack.append(value)

    # Marks and the stack -----------------------------------------------------------------------

    def mark(self) -> None:
        if len(self.marks) >= MAX_MARKS:
            _refuse(say("it nests deeper than {limit}", limit=MAX_MARKS))
        self.marks.append(self.stack)
        self.stack = []

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.stack = self.marks.pop()

    def pop_mark(self) -> None:
        self.stack = self.marks.pop()

    def again(self) -> None:
        self.stack.append(self.stack[-1])

    def skip_frame(self) -> None:
        self.take(8)

    def skip_protocol(self) -> None:
        self.take(1)

    # Numbers and texts ---------------------------------------------------------------------------

    def none(self) -> None:
        self.stack.append(None)

    def true(self) -> None:
        self.stack.append(True)

    def false(self) -> None:
        self.stack.append(False)

    def int1(self) -> None:
        self.stack.append(self.data[self.place])
        self.place += 1

    def int2(self) -> None:
        self.stack.append(int.from_bytes(self.take(2), "little"))

    def int4(self) -> None:
        self.stack.append(int.from_bytes(self.take(4), "little", signed=True))

    def long1(self) -> None:
        self.long(self.take(1)[0])

    def long4(self) -> None:
        self.long(int.from_bytes(self.take(4), "little", signed=True))

    def long(self, count: int) -> None:
        """A whole number of so many bytes."""
        if count > MAX_INT_BYTES:
            _refuse(say("it holds a number of {count} bytes", count=count))
        self.stack.append(int.from_bytes(self.take(count), "little", signed=True))

    def int_text(self) -> None:
        text = self.line(_MAX_TEXT_DIGITS).rstrip(b"L")
        self.stack.append({b"00": False, b"01": True}.get(text, int(text)))

    def float_text(self) -> None:
        self.stack.append(float(self.line(_MAX_TEXT_DIGITS)))

    def float8(self) -> None:
        self.stack.append(struct.unpack(">d", self.take(8))[0])

    def text1(self) -> None:
        self.stack.append(self.take(self.take(1)[0]).decode("utf-8", "replace"))

    def text4(self) -> None:
        count = int.from_bytes(self.take(4), "little")
        self.stack.append(self.take(count).decode("utf-8", "replace"))

    def text8(self) -> None:
        count = int.from_bytes(self.take(8), "little")
        self.stack.append(self.take(count).decode("utf-8", "replace"))

    def text_line(self) -> None:
        text = self.line(1 << 16).decode("raw-unicode-escape", "replace")
        # An escape can spell half a character, which no text that is written may hold.
        self.stack.append(text.encode("utf-8", "replace").decode("utf-8"))

    def quoted_line(self) -> None:
        text = self.line(1 << 16)
        if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in b"'\"":
            raise ValueError
        self.stack.append(text[1:-1].decode("ascii", "replace"))

    # Containers ----------------------------------------------------------------------------------

    def new_dict(self) -> None:
        self.container({})

    def new_list(self) -> None:
        self.container([])

    def new_tuple(self) -> None:
        self.container(())

    def tuple1(self) -> None:
        self.container((self.stack.pop(),))

    def tuple2(self) -> None:
        second, first = self.stack.pop(), self.stack.pop()
        self.container((first, second))

    def tuple3(self) -> None:
        third, second, first = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.container((first, second, third))

    def marked_tuple(self) -> None:
        self.container(tuple(self.since_mark()))

    def marked_list(self) -> None:
        self.container(self.since_mark())

    def marked_dict(self) -> None:
        items = self.since_mark()
        self.container({})
        self.fill(items)

    def append(self) -> None:
        value = self.stack.pop()
        self.extend([value])

    def appends(self) -> None:
        self.extend(self.since_mark())

    def extend(self, items: list[Any]) -> None:
        """Adds to the list on top."""
        held = self.stack[-1]
        if type(held) is not list:
            raise TypeError
        held.extend(items)

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.fill([key, value])

    def set_items(self) -> None:
        self.fill(self.since_mark())

    def fill(self, items: list[Any]) -> None:
        """Adds keys and values, one after the other, to the dict on top."""
        held = self.stack[-1]
        if type(held) is not dict or len(items) % 2:
            raise TypeError
        keys = items[::2]
        if any(type(key) is not str and type(key) is not int for key in keys):
            _refuse("it holds a key that is neither a text nor a number")
        # Larger ones can be chosen that all look alike to a dict, which then takes for ever.
        if any(type(key) is int and abs(key) > _MAX_KEY for key in keys):
            _refuse("it holds a key of more than 60 bits")
        held.update(zip(keys, items[1::2], strict=True))

    # The memo ------------------------------------------------------------------------------------

    def memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def put1(self) -> None:
        self.memo[self.take(1)[0]] = self.stack[-1]

    def put4(self) -> None:
        self.memo[int.from_bytes(self.take(4), "little")] = self.stack[-1]

    def put_text(self) -> None:
        self.memo[int(self.line(_MAX_TEXT_DIGITS))] = self.stack[-1]

    def get1(self) -> None:
        self.stack.append(self.memo[self.data[self.place]])
        self.place += 1

    def get4(self) -> None:
        self.stack.append(self.memo[int.from_bytes(self.take(4), "little")])

    def get_text(self) -> None:
        self.stack.append(self.memo[int(self.line(_MAX_TEXT_DIGITS))])


def _refusal(name: str) -> Callable[[], None]:
    def refuse() -> None:
        _refuse(say("it asks for more than plain data (opcode {name})", name=name))

    return refuse


_M = _Machine
_OPCODES: dict[str, Callable[[_Machine], None]] = {
    "(": _M.mark,
    "0": _M.pop,
    "1": _M.pop_mark,
    "2": _M.again,
    "\x95": _M.skip_frame,
    "\x80": _M.skip_protocol,
    "N": _M.none,
    "\x88": _M.true,
    "\x89": _M.false,
    "K": _M.int1,
    "M": _M.int2,
    "J": _M.int4,
    "\x8a": _M.long1,
    "\x8b": _M.long4,
    "IL": _M.int_text,
    "F": _M.float_text,
    "G": _M.float8,
    "\x8cUC": _M.text1,
    "XTB": _M.text4,
    "\x8d\x8e": _M.text8,
    "V": _M.text_line,
    "S": _M.quoted_line,
    "}": _M.new_dict,
    "]": _M.new_list,
    ")": _M.new_tuple,
    "\x85": _M.tuple1,
    "\x86": _M.tuple2,
    "\x87": _M.tuple3,
    "t": _M.marked_tuple,
    "l": _M.marked_list,
    "d": _M.marked_dict,
    "a": _M.append,
    "e": _M.appends,
    "s": _M.set_item,
    "u": _M.set_items,
    "\x94": _M.memoize,
    "q": _M.put1,
    "r": _M.put4,
    "p": _M.put_text,
    "h": _M.get1,
    "j": _M.get4,
    "g": _M.get_text,
}
"""The opcodes of protocols 0 to 5 that make plain data; several letters share one reading."""
