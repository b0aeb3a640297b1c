"""First stage: what each function of a blob looks like once everything that differs per blob is taken out of it.

Two functions of equal *shape* are the same code but for their *operands*: constants, addresses in the offsets of loads,
and the functions they call. Types count by their structure and globals by the register they get, so a shape means the
same in every blob. A function that cannot be moved to another module without changing what it does has no shape.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain

from bacpack.split.abi.checked_load import LOADS, checked_load, count_locals
from bacpack.split.shapes.open_instructions import Cut, cut, cut_canonical
from bacpack.split.shapes.register_assignment import assign_registers
from bacpack.split.shapes.relocation_hints import UNKNOWN, HintReader, RelocationHints
from bacpack.split.shapes.table_entries import has_program_table
from bacpack.wasm import Kind, Module, SectionId, WasmError, limits
from bacpack.wasm import scanner as scan
from bacpack.wasm.leb128 import decode_signed, decode_unsigned
from bacpack.wasm.reader import Reader
from bacpack.wasm.types import I32, I64
from bacpack.wasm.writer import func_type

#: Kinds of operands, one character each in `Function.kinds`.
CONST, LONG, CALL, REFERENCE = "c", "l", "f", "r"
#: The type of each kind of constant.
CONSTANTS = {CONST: I32, LONG: I64}

#: Stand for a constant that is left open. They begin with no opcode: `i32.const` itself would read as a constant with
#: its bytes taken from what follows, and two functions that differ could look alike.
ANY_CONST, ANY_LONG = b"\xff\x41", b"\xff\x42"
#: Why a function stays that comes close to a limit of engines.
TOO_LARGE = "has about as much code, or as many locals, as engines accept"
_BLOCKS = (0x02, 0x03, 0x04, 0x06)
_CALLS = (scan.CALL, scan.RETURN_CALL)
_INDIRECT_CALLS = (scan.CALL_INDIRECT, scan.RETURN_CALL_INDIRECT)
#: What an open instruction becomes has fewer bytes: a load whose address is read from a slot is the longest.
_MOST_BYTES = 40
#: Locals that such loads need.
_SCRATCH = 2
#: After so many functions it is told how many are read.
_SHOW_EACH = 256


@dataclass(slots=True)
class Function:
    """A function that a blob defines."""

    #: Equal for functions of equal shape; None when the function must stay in its blob's remainder.
    shape: bytes | None
    #: Why it must stay, when it must.
    reason: str | None
    #: The kind of each operand, in the order of the code.
    kinds: str
    #: Their values: constants as signed numbers, and function indices.
    operands: array[int]
    #: Size of its code in bytes.
    size: int
    #: The registers that it uses, as a set of bits.
    registers: int = 0

    @property
    def calls(self) -> list[int]:
        """Indices of the functions it calls directly, one for each call."""
        return self._operands(CALL)

    @property
    def references(self) -> list[int]:
        """Indices of the functions whose reference it takes."""
        return self._operands(REFERENCE)

    def _operands(self, wanted: str) -> list[int]:
        return [value for kind, value in zip(self.kinds, self.operands, strict=True) if kind == wanted]


@dataclass(slots=True)
class Blob:
    """A linked program, its functions fingerprinted."""

    module: Module
    #: The register of each of its globals that can live in one, by index.
    registers: dict[int, int]
    #: Whether its code names data or element segments, whose numbers must then stay as they are.
    names_segments: bool
    #: The functions that the blob defines; index 0 here is function index `imported_functions`.
    functions: list[Function]
    #: For functions that are the same as another one, that one: see `identical`. Both are positions in `functions`.
    same: dict[int, int] = field(default_factory=dict)
    #: Functions that are left out: see `unreachable`. Positions in `functions`.
    unreachable: set[int] = field(default_factory=set)
    #: What its relocations say, if it was linked with them.
    hints: RelocationHints | None = None
    #: The canonical form of the code of functions that have another: it takes long to find. Positions in `functions`.
    canonical: dict[int, bytes] = field(default_factory=dict)

    def cut(self, function: int) -> Cut:
        """The code of a function, cut: see `open_instructions`."""
        body = self.module.bodies[function]
        code = self.canonical.get(function)
        return cut(self.module, body) if code is None else cut_canonical(self.module, body, code)

    def meanings(self, function: int) -> Sequence[int]:
        """What each operand of a function is: see `relocation_hints`."""
        return self.hints.operands[function] if self.hints else [UNKNOWN] * len(self.functions[function].operands)

    @property
    def imported_functions(self) -> int:
        """How many functions are imported, and so have lower indices."""
        return len(self.module.function_types) - len(self.functions)


def fingerprint(module: Module, show: Callable[[str], None] = lambda state: None) -> Blob:
    """Fingerprint every function of `module`; raises `WasmError` when its code is malformed.

    `show` is told how far the work is.
    """
    registers = assign_registers(module)
    shapes = _Shapes(module, registers)
    hint_reader = HintReader(module)
    starts_empty = bool(module.memories) and not module.memories[0].minimum
    functions: list[Function] = []
    canonical: dict[int, bytes] = {}
    for type_index, body in zip(module.functions, module.bodies, strict=True):
        locals_, runs, opened = cut(module, body)
        code = b"".join(chain.from_iterable(zip(runs, [*opened, b""], strict=True)))
        if code != module.data[body.start + len(locals_) : body.end]:
            canonical[len(functions)] = code
        signature = shapes.signature(type_index)
        forms = [shapes[instruction] for instruction in opened]
        function = _function(signature, locals_, runs, forms, body.end - body.start)
        if starts_empty:
            function.shape, function.reason = None, "is set up through memory, and that of its program starts empty"
        functions.append(function)
        if not len(functions) % _SHOW_EACH:
            show(f"{len(functions)} of {len(module.bodies)} functions read")
        hint_reader.note(opened, [(form.kind, form.value) for form in forms])
    return Blob(module, registers, shapes.names_segments, functions, hints=hint_reader.hints(), canonical=canonical)


def _function(signature: bytes | None, locals_: bytes, runs: list[bytes], forms: list[_Form], size: int) -> Function:
    kinds = "".join([form.kind for form in forms])
    operands = array("q", [form.value for form in forms if form.kind])
    if signature is None or _has_references(locals_):
        return Function(None, "its type belongs to its own module", kinds, operands, size)
    if _may_grow_too_large(locals_, runs, size):
        return Function(None, TOO_LARGE, kinds, operands, size)
    registers = 0
    for form in forms:
        if form.reason:
            return Function(None, form.reason, kinds, operands, size)
        registers |= form.register
    shape = digest(signature, locals_, runs, [form.shape for form in forms])
    return Function(shape, None, kinds, operands, size, registers)


def _may_grow_too_large(locals_: bytes, runs: Sequence[bytes], size: int) -> bool:
    """Whether a function may be more than engines accept once it reads what differs from slots."""
    # As every open instruction has a byte, most functions are known to be small enough at a glance.
    if size * _MOST_BYTES > limits.MAX_FUNCTION_BYTES:
        longest = len(locals_) + 1 + sum(map(len, runs)) + _MOST_BYTES * (len(runs) - 1)
        if longest > limits.MAX_FUNCTION_BYTES:
            return True
    return count_locals(limits.MAX_PARAMETERS, locals_) + _SCRATCH > limits.MAX_LOCALS


def _has_references(locals_: bytes) -> bool:
    """Whether any declared local is a reference to a type, which the module may number in its own way."""
    if b"\x63" not in locals_ and b"\x64" not in locals_:
        return False
    reader = Reader(locals_)  # these bytes may be numbers of locals as well
    for _ in range(reader.u32("the number of local declarations")):
        reader.u32("a number of locals")
        if len(reader.value_type()) > 1:
            return True
    return False


def digest(signature: bytes, locals_: bytes, runs: Sequence[bytes], shapes: Sequence[bytes]) -> bytes:
    """The shape of a function: its type, its locals, and its code cut into runs and the shapes of open instructions."""
    parts = chain.from_iterable(zip(runs, shapes, strict=False))
    return blake2b(b"".join((signature, locals_, *parts, runs[-1])), digest_size=16).digest()


@dataclass(slots=True, frozen=True)
class _Form:
    """What one open instruction adds to its function's fingerprint."""

    shape: bytes = b""
    kind: str = ""
    value: int = 0
    reason: str | None = None
    #: The register that it names, as a bit.
    register: int = 0


class _Shapes(dict[bytes, _Form]):
    """The form of each open instruction met in one module, worked out once for equal bytes."""

    def __init__(self, module: Module, registers: dict[int, int]) -> None:
        super().__init__()
        self._module = module
        self._registers = registers
        memories = [*module.imported(Kind.MEMORY), *module.memories]
        self._bounded = any(getattr(memory, "maximum", None) is not None for memory in memories)
        self._has_program_table = has_program_table(module)
        self._signatures: dict[int, bytes | None] = {}
        self.names_segments = False

    def signature(self, type_index: int) -> bytes | None:
        """The structure of a function type that means the same in every module, or None."""
        if type_index not in self._signatures:
            self._signatures[type_index] = self._signature(type_index)
        return self._signatures[type_index]

    def _signature(self, type_index: int) -> bytes | None:
        if not 0 <= type_index < len(self._module.types):
            return None
        entry = self._module.types[type_index]
        if entry.function is None or not entry.alone or not entry.function.is_plain:
            return None
        return func_type(entry.function)

    def __missing__(self, instruction: bytes) -> _Form:
        form = self[instruction] = self._form(instruction)
        return form

    def _form(self, instruction: bytes) -> _Form:
        opcode = instruction[0]
        if opcode == scan.I32_CONST:
            return _Form(ANY_CONST, CONST, decode_signed(instruction, 1)[0])
        if opcode == scan.I64_CONST:
            return _Form(ANY_LONG, LONG, decode_signed(instruction, 1)[0])
        if opcode in LOADS and (checked := checked_load(instruction)):
            return _Form(checked[0], CONST, checked[1])
        if opcode in _CALLS:
            return self._call(opcode, instruction)
        if opcode in _INDIRECT_CALLS:
            type_index, position = decode_unsigned(instruction, 1)
            table, _ = decode_unsigned(instruction, position)
            signature = self.signature(type_index)
            if table or not self._has_program_table or signature is None:
                return _Form(reason="calls through a table or type of its own module")
            return _Form(bytes([opcode]) + signature)
        if opcode in (scan.GLOBAL_GET, scan.GLOBAL_SET):
            register = self._registers.get(decode_unsigned(instruction, 1)[0])
            if register is None:
                return _Form(reason="uses a global of its own module")
            return _Form(bytes([opcode, register]), register=1 << register)
        if opcode in _BLOCKS:
            signature = self.signature(decode_signed(instruction, 1)[0])
            return _Form(bytes([opcode]) + signature) if signature else _Form(reason="has blocks of its own types")
        if opcode == scan.MEMORY_GROW and instruction == b"\x40\x00":
            return _Form(instruction) if not self._bounded else _Form(reason="grows a memory that has a maximum")
        if opcode == scan.REF_FUNC:
            referenced, _ = decode_unsigned(instruction, 1)
            self._check_function(referenced)
            return _Form(kind=REFERENCE, value=referenced, reason="takes the reference of a function")
        self.names_segments |= opcode in (0xFB, 0xFC)
        return _Form(reason="uses tables, segments, tags or types of its own module")

    def _check_function(self, index: int) -> None:
        if index >= len(self._module.function_types):
            section = self._module.section(SectionId.CODE)
            raise WasmError("wasm-malformed", f"function {index} does not exist", section.start if section else 0)

    def _call(self, opcode: int, instruction: bytes) -> _Form:
        callee, _ = decode_unsigned(instruction, 1)
        self._check_function(callee)
        signature = self.signature(self._module.function_types[callee])
        if signature is None:
            return _Form(kind=CALL, value=callee, reason="calls a function whose type belongs to its own module")
        return _Form(bytes([opcode]) + signature, CALL, callee)
