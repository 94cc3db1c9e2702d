"""ONNX graphs that compute padded tokens only where tokens meet."""

from __future__ import annotations

from typing import Any

ELEMENTWISE = frozenset(
    {"Add", "Div", "Gelu", "Mul", "Pow", "Reciprocal", "Relu", "Sqrt", "Sub", "Sum", "Tanh"}
)


def drop_padding(graph: Any, mask: Any) -> None:
    """Let the operators that treat each token alone compute only the tokens that are not padded.

    Their values of shape `(batch, tokens, dim)` become `(kept, dim)`. For all other operators, such as those of
    attention, the shape is restored, with zeros for padded tokens. The new operators are standard ones.

    Args:
        graph: A graph of onnx_ir with the shapes of its values, in topological order; it is changed in place.
        mask: Its input that is zero for padded tokens, `(batch, tokens)`.
    """
    nodes = list(graph)
    if not any(_is_per_token(node, mask) for node in nodes):
        return
    packing = _Packing(nodes[0], mask)
    for node in nodes:
        if _is_per_token(node, mask) or packing.continues(node):
            packing.pack(node)
        else:
            packing.restore(node)
    packing.forget_shapes()


class _Packing:
    """The values of a graph that have been computed without padded tokens.

    Args:
        first: The first node of the graph.
        mask: See `drop_padding`.
    """

    def __init__(self, first: Any, mask: Any) -> None:
        self._mask = mask
        self._kept = _insert(first, "Transpose", [_insert(first, "NonZero", [mask])])  # (kept, 2)
        self._size = _insert(first, "Shape", [mask])
        self._computed: set[Any] = set()
        self._packed: dict[Any, Any] = {}
        self._restored: dict[Any, Any] = {}

    def continues(self, node: Any) -> bool:
        """Whether an operator is elementwise, and one of its inputs has been computed without padded tokens."""
        return (
            node.op_type in ELEMENTWISE
            and not self._computed.isdisjoint(node.inputs)
            and all(_has_tokens(one, self._mask) or _is_vector(one) for one in node.inputs)
        )

    def pack(self, node: Any) -> None:
        """Let an operator compute only the tokens that are not padded."""
        for position, value in enumerate(node.inputs):
            if _has_tokens(value, self._mask) and value not in self._computed:
                if value not in self._packed:
                    self._packed[value] = _insert(node, "GatherND", [value, self._kept])
                node.replace_input_with(position, self._packed[value])
        self._computed.add(node.outputs[0])

    def restore(self, node: Any) -> None:
        """Let an operator read zeros for padded tokens."""
        for position, value in enumerate(node.inputs):
            if value in self._computed:
                if value not in self._restored:
                    dim = _insert(node, "Constant", [], value_ints=[value.shape[2]])
                    shape = _insert(node, "Concat", [self._size, dim], axis=0)
                    zeros = _insert(node, "ConstantOfShape", [shape])
                    self._restored[value] = _insert(node, "ScatterND", [zeros, self._kept, value])
                node.replace_input_with(position, self._restored[value])

    def forget_shapes(self) -> None:
        """Remove the shapes that have been true with padded tokens."""
        for value in self._computed:
            value.shape = None


def _insert(following: Any, kind: str, inputs: list[Any], **attributes: Any) -> Any:
    """Insert an operator before a node, and return its output."""
    import onnx_ir

    node = onnx_ir.node(kind, inputs, attributes)
    following.graph.insert_before(following, node)
    return node.outputs[0]


def _is_per_token(node: Any, mask: Any) -> bool:
    """Whether an operator is a linear map or a normalisation of each token."""
    if node.op_type == "MatMul":
        weight = node.inputs[1]
        is_matrix = weight.const_value is not None and len(weight.const_value.shape) == 2
        return is_matrix and _has_tokens(node.inputs[0], mask)
    if node.op_type == "LayerNormalization":
        return _has_tokens(node.inputs[0], mask) and node.attributes["axis"].value == -1
    return False


def _has_tokens(value: Any, mask: Any) -> bool:
    """Whether the shape is `(batch, tokens, dim)`."""
    shape = [] if value is None or value.shape is None else list(value.shape)
    return len(shape) == 3 and shape[:2] == list(mask.shape) and isinstance(shape[2], int)


def _is_vector(value: Any) -> bool:
    """Whether each token gets the same: a vector of the token's width, or a number."""
    return value.shape is not None and len(value.shape) <= 1
