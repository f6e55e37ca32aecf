"""ONNX files as plain data: operators in file order, and the size of every tensor.

The only module that knows the library. Weights are not read, only their sizes: a file whose
external data is missing will do.
"""

from __future__ import annotations

import importlib
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from scope_opt.importing.graph import Graph, Node
from scope_opt.importing.operators import KINDS, SHAPES, Kind
from scope_opt.model.files import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from scope_opt.importing.graph import Shape

SMALL = 4096
"""Constants of at most so many elements are evaluated: they can hold the sizes of others."""


def read_graph(path: Path, sizes: Mapping[str, int], ignored: Collection[str] = ()) -> Graph:
    """Read an ONNX file and find the size of every tensor.

    Parameters
    ----------
    path : Path
        The file.
    sizes : mapping of str to int
        Sizes of open dimensions, by their name or as ``INPUT.AXIS``. A first dimension that is
        open and not given is the batch, and 1.
    ignored : collection of str
        Operators that are left out: what they read is passed on.

    Raises
    ------
    InputError
        For a file that is none, operators that nobody knows, sizes that stay open.
    """
    return _Reader(path, sizes, frozenset(ignored)).graph()


class _Reader:
    def __init__(self, path: Path, sizes: Mapping[str, int], ignored: frozenset[str]) -> None:
        self.onnx = _library()
        self.path = path
        self.sizes = sizes
        self.ignored = ignored
        model = self._load()
        self.proto = model.graph
        self.opsets = {entry.domain: entry.version for entry in model.opset_import}
        self.opsets.setdefault("", self.opsets.pop("ai.onnx", 1))
        self.stored = {tensor.name: tensor for tensor in self.proto.initializer}
        self.written = {value.name: value for value in [*self.proto.value_info, *self.proto.output]}
        self.types: dict[str, Any] = {}
        self.values: dict[str, NDArray[Any]] = {}
        self.assumed: dict[str, int] = {}
        self.used: set[str] = set()

    def _load(self) -> Any:
        from google.protobuf.message import DecodeError

        if not self.path.is_file():
            raise InputError(str(self.path), ["no such file"])
        try:
            # Weights are not needed, and may be elsewhere.
            model = self.onnx.load(str(self.path), format="protobuf", load_external_data=False)
        except DecodeError:
            raise InputError(str(self.path), ["not an ONNX file"]) from None
        except OSError as error:
            raise InputError(str(self.path), [f"cannot be read: {error.strerror}"]) from None
        if not model.graph.node:
            raise InputError(str(self.path), ["not an ONNX file, or one without operators"])
        if model.functions:
            model = importlib.import_module("onnx.inliner").inline_local_functions(model)
        return model

    def graph(self) -> Graph:
        protos = self._live()
        inputs = [value for value in self.proto.input if value.name not in self.stored]
        constants = self._constants(protos, {value.name for value in inputs})
        self._refuse_unknown(protos, constants)
        self._type_stored()
        problems = self._type_inputs(inputs)
        if problems:
            raise InputError(str(self.path), problems)
        nodes: list[Node] = []
        open_sizes: list[str] = []
        wanted = {value.name for value in self.proto.output}
        wanted.update(tensor for proto in protos for tensor in proto.input)
        for proto in protos:
            reason = self._type_outputs(proto, constants)
            varying = [tensor for tensor in proto.output if tensor and tensor not in constants]
            # Those behind an open size are open, too; they need no mention.
            if any(
                tensor in wanted and _shape(self.types.get(tensor)) is None for tensor in varying
            ) and all(
                _shape(self.types.get(tensor)) is not None for tensor in proto.input if tensor
            ):
                open_sizes.append(f"{_plain(proto)}: the size of its output is not known{reason}")
            if varying:
                nodes.append(self._node(proto))
        if open_sizes:
            more = [f"and {len(open_sizes) - 5} more"] if len(open_sizes) > 5 else []
            way_out = "export the model with fixed sizes, or give those that fit: --size NAME=N"
            raise InputError(str(self.path), [*open_sizes[:5], *more, way_out])
        unused = sorted(set(self.sizes) - self.used)
        if unused:
            known = ", ".join(sorted(self._dimensions(inputs)))
            raise InputError("--size", [f"no dimension {unused[0]!r}; there are {known}"])
        shapes = {name: _shape(found) for name, found in self.types.items()}
        return Graph(
            name=self.proto.name,
            nodes=tuple(nodes),
            inputs=tuple(value.name for value in inputs),
            outputs=tuple(value.name for value in self.proto.output),
            shapes={name: shape for name, shape in shapes.items() if shape is not None},
            constants=frozenset(constants),
            values=self.values,
            parameters=self._parameters(protos),
            assumed=self.assumed,
        )

    def _live(self) -> list[Any]:
        """Operators that an output depends on, in file order."""
        makers = {tensor: node for node in self.proto.node for tensor in node.output if tensor}
        waiting = [value.name for value in self.proto.output]
        live: set[int] = set()
        while waiting:
            node = makers.get(waiting.pop())
            if node is not None and id(node) not in live:
                live.add(id(node))
                waiting.extend(tensor for tensor in node.input if tensor)
        kept = [node for node in self.proto.node if id(node) in live]
        return kept if self._sorted(kept) else _topological(kept, makers)

    @staticmethod
    def _sorted(nodes: Sequence[Any]) -> bool:
        place = {tensor: index for index, node in enumerate(nodes) for tensor in node.output}
        return all(
            place.get(tensor, -1) < index
            for index, node in enumerate(nodes)
            for tensor in node.input
        )

    def _constants(self, protos: Iterable[Any], inputs: Collection[str]) -> set[str]:
        """Tensors that depend on no input; sizes of tensors do not."""
        varying = set(inputs)
        for proto in protos:
            if proto.op_type not in SHAPES and any(tensor in varying for tensor in proto.input):
                varying.update(proto.output)
        made = {tensor for proto in protos for tensor in proto.output if tensor}
        return (made | set(self.stored)) - varying

    def _refuse_unknown(self, protos: Iterable[Any], constants: Collection[str]) -> None:
        unknown = Counter(
            _operator(proto)
            for proto in protos
            if _operator(proto) not in KINDS
            and _operator(proto) not in self.ignored
            and not all(tensor in constants for tensor in filter(None, proto.output))
        )
        if unknown:
            counted = ", ".join(f"{op} ({count})" for op, count in sorted(unknown.items()))
            ignore = " ".join(f"--ignore {op}" for op in sorted(unknown))
            problem = (
                f"operators that cannot be stated: {counted}; {ignore} leaves them out and passes "
                "on what they read"
            )
            raise InputError(str(self.path), [problem])

    # --- Sizes -----------------------------------------------------------------------------------

    def _type_stored(self) -> None:
        helper, numeric = self.onnx.helper, self.onnx.numpy_helper
        for name, tensor in self.stored.items():
            self.types[name] = helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
            if math.prod(tensor.dims) > SMALL:
                continue
            if tensor.data_location == self.onnx.TensorProto.EXTERNAL and not self._fetch(tensor):
                continue
            self.values[name] = numeric.to_array(tensor)

    def _fetch(self, tensor: Any) -> bool:
        """Read a small tensor that is stored beside the file, if it is there."""
        external = importlib.import_module("onnx.external_data_helper")
        try:
            external.load_external_data_for_tensor(tensor, str(self.path.parent))
        except Exception:  # the library has errors of its own for missing and for broken files
            return False
        tensor.data_location = self.onnx.TensorProto.DEFAULT
        return True

    @staticmethod
    def _dimensions(inputs: Iterable[Any]) -> dict[str, list[str]]:
        """Names by which dimensions of inputs can be given, each with its inputs."""
        names: dict[str, list[str]] = {}
        for value in inputs:
            for axis, dim in enumerate(value.type.tensor_type.shape.dim):
                names.setdefault(f"{value.name}.{axis}", []).append(value.name)
                if dim.dim_param:
                    names.setdefault(dim.dim_param, []).append(value.name)
        return names

    def _type_inputs(self, inputs: Sequence[Any]) -> list[str]:
        problems = []
        for value in inputs:
            tensor = value.type.tensor_type
            if not tensor.HasField("shape"):
                problems.append(f"input {value.name!r}: its size is not given in the file")
                continue
            shape = []
            for axis, dim in enumerate(tensor.shape.dim):
                size = self._size(value.name, axis, dim)
                if size is None:
                    name = dim.dim_param or f"{value.name}.{axis}"
                    problems.append(
                        f"input {value.name!r}: dimension {axis} ({name}) is open; "
                        f"give it: --size {name}=N"
                    )
                shape.append(size or 1)
            self.types[value.name] = self.onnx.helper.make_tensor_type_proto(
                tensor.elem_type, shape
            )
        return problems

    def _size(self, tensor: str, axis: int, dim: Any) -> int | None:
        """Size of a dimension: as given, as in the file, or 1 for the batch."""
        for name in (f"{tensor}.{axis}", dim.dim_param):
            if name and name in self.sizes:
                self.used.add(name)
                return self.sizes[name]
        if dim.dim_value > 0:
            return int(dim.dim_value)
        name = dim.dim_param or f"{tensor}.{axis}"
        if axis == 0:
            self.assumed[name] = 1
        return self.assumed.get(name)

    def _type_outputs(self, proto: Any, constants: Collection[str]) -> str:
        """Find the sizes of what an operator makes, and its value if that holds sizes.

        Returns what the library says against it.
        """
        inputs = [tensor for tensor in proto.input if tensor]
        if proto.op_type == "Shape" and inputs:
            shape = _shape(self.types.get(inputs[0]))
            if shape is not None:
                start, end = _attribute(proto, "start", 0), _attribute(proto, "end", None)
                self._keep(proto.output[0], np.array(shape[start:end], dtype=np.int64))
                return ""
        known = proto.output[0] in constants and all(tensor in self.values for tensor in inputs)
        if known and self._evaluate(proto, inputs):
            return ""
        reason = self._infer(proto, inputs)
        for tensor in filter(None, proto.output):
            if _shape(self.types.get(tensor)) is None:
                self._take_as_written(tensor)
        first = _shape(self.types.get(inputs[0])) if inputs else None
        same = _operator(proto) in self.ignored or KINDS.get(_operator(proto)) is Kind.FUSED
        if same and first is not None and _shape(self.types.get(proto.output[0])) is None:
            self.types[proto.output[0]] = self.types[inputs[0]]
        return reason

    def _infer(self, proto: Any, inputs: Sequence[str]) -> str:
        onnx = self.onnx
        try:
            schema = onnx.defs.get_schema(
                proto.op_type, self.opsets.get(proto.domain, 1), proto.domain
            )
            types = {tensor: self.types[tensor] for tensor in inputs}
            data = {
                tensor: onnx.numpy_helper.from_array(self.values[tensor])
                for tensor in inputs
                if tensor in self.values
            }
            sets = [onnx.helper.make_opsetid(*entry) for entry in self.opsets.items()]
            found = onnx.shape_inference.infer_node_outputs(
                schema, proto, types, data, opset_imports=sets
            )
        except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
            return f": {error}"
        except (KeyError, onnx.defs.SchemaError):
            return ""  # an input's size is not known, or the operator not the library's
        self.types.update(found)
        return ""

    def _evaluate(self, proto: Any, inputs: Sequence[str]) -> bool:
        """Compute a small constant; False if that is not possible."""
        reference = importlib.import_module("onnx.reference")
        try:
            evaluator = reference.ReferenceEvaluator(proto, opsets=self.opsets)
            found = evaluator.run(None, {tensor: self.values[tensor] for tensor in inputs})
        except Exception:  # any operator of any file: what cannot be computed is not needed or open
            return False
        if any(not isinstance(value, np.ndarray) or value.size > SMALL for value in found):
            return False
        for tensor, value in zip(proto.output, found, strict=False):
            self._keep(tensor, value)
        return True

    def _keep(self, tensor: str, value: NDArray[Any]) -> None:
        helper = self.onnx.helper
        self.values[tensor] = value
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        self.types[tensor] = helper.make_tensor_type_proto(kind, value.shape)

    def _take_as_written(self, tensor: str) -> None:
        """The size that the file states, if it states one."""
        value = self.written.get(tensor)
        if value is None or not value.type.tensor_type.HasField("shape"):
            return
        shape = []
        for dim in value.type.tensor_type.shape.dim:
            known = {**self.assumed, **self.sizes}
            size = dim.dim_value or known.get(dim.dim_param, 0)
            if size <= 0:
                return
            shape.append(size)
        kind = value.type.tensor_type.elem_type
        self.types[tensor] = self.onnx.helper.make_tensor_type_proto(kind, shape)

    # --- Plain data ------------------------------------------------------------------------------

    def _node(self, proto: Any) -> Node:
        attributes = {}
        for attribute in proto.attribute:
            value = self.onnx.helper.get_attribute_value(attribute)
            attributes[attribute.name] = value.decode() if isinstance(value, bytes) else value
        return Node(
            proto.name, _operator(proto), tuple(proto.input), tuple(proto.output), attributes
        )

    def _parameters(self, protos: Iterable[Any]) -> int:
        read = {tensor for proto in protos for tensor in proto.input}
        return sum(
            math.prod(tensor.dims)
            for name, tensor in self.stored.items()
            if name in read and tensor.data_type not in self._whole_numbers()
        )

    def _whole_numbers(self) -> tuple[int, ...]:
        kinds = self.onnx.TensorProto
        return (kinds.INT64, kinds.INT32, kinds.BOOL)


def _library() -> Any:
    try:
        onnx = importlib.import_module("onnx")
        for part in ("checker", "defs", "helper", "numpy_helper", "shape_inference"):
            importlib.import_module(f"onnx.{part}")
    except ImportError:
        problem = "needs the library onnx: pip install 'scope-opt[onnx]'"
        raise InputError("scope-opt import", [problem]) from None
    return onnx


def _operator(proto: Any) -> str:
    """Name of an operator, with its domain unless that is ONNX's own."""
    own = proto.domain in ("", "ai.onnx")
    return str(proto.op_type) if own else f"{proto.domain}.{proto.op_type}"


def _plain(proto: Any) -> str:
    return f"{proto.name} ({proto.op_type})" if proto.name else str(proto.op_type)


def _attribute(proto: Any, name: str, default: Any) -> Any:
    return next((entry.i for entry in proto.attribute if entry.name == name), default)


def _shape(kind: Any) -> Shape | None:
    """Sizes of a tensor's type, None unless all are known."""
    if kind is None or not kind.HasField("tensor_type"):
        return None
    tensor = kind.tensor_type
    if not tensor.HasField("shape"):
        return None
    shape = tuple(dim.dim_value for dim in tensor.shape.dim)
    known = all(dim.HasField("dim_value") for dim in tensor.shape.dim)
    return shape if known else None


def _topological(nodes: Sequence[Any], makers: Mapping[str, Any]) -> list[Any]:
    """Operators sorted so that each comes after those whose tensors it reads, else as given."""
    done: set[int] = set()
    found: list[Any] = []
    for root in nodes:
        waiting = [root]
        while waiting:
            node = waiting[-1]
            before = [makers[tensor] for tensor in node.input if tensor in makers]
            missing = [other for other in before if id(other) not in done and other is not node]
            if missing and len(waiting) <= len(nodes):
                waiting.append(missing[0])
                continue
            waiting.pop()
            if id(node) not in done:
                done.add(id(node))
                found.append(node)
    return found
