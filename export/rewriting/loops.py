"""Loops and branches: nodes that hold functions, which whoever runs the graph takes apart, or runs as they are.

Taken apart, the steps of a loop may overlap, as those do that read one picture each. Where none can begin before the
last has ended, all that comes of it is that every tensor passes three nodes in every step, the weights among them.
"""

import re

from tensorflow.core.framework import function_pb2

from export.rewriting.graph import GraphDef, unique

_TAKEN_APART = "_lower_using_switch_merge"
_LOOPS = ("While", "StatelessWhile")
_CONTROL_FLOW = (*_LOOPS, "If", "StatelessIf", "Case", "StatelessCase")
_CALLS = {"While": "StatefulPartitionedCall", "StatelessWhile": "PartitionedCall"}


def enclosed_loops(graph_def: GraphDef, kept) -> GraphDef:
    """A loop whose steps follow one another strictly → a call of a function that runs it as it is.

    The call is what keeps TensorFlow from changing the precision of what the loop is given, but not of the loop.
    """
    made = GraphDef()
    made.CopyFrom(graph_def)
    taken = {function.signature.name for function in made.library.function}
    for node in made.node:
        if node.op in _LOOPS and node.attr["parallel_iterations"].i == 1:
            name = unique(f"enclosed_{re.sub(r'[^A-Za-z0-9_]', '_', node.name)}", taken)
            taken.add(name)
            made.library.function.append(_holding(node, name))
            types = list(node.attr["T"].list.type)
            node.op = _CALLS[node.op]
            node.attr.clear()
            node.attr["Tin"].list.type.extend(types)
            node.attr["Tout"].list.type.extend(types)
            node.attr["f"].func.name = name
    return made


def _holding(loop, name: str) -> function_pb2.FunctionDef:
    """A function of the loop's inputs to its outputs, which nobody puts in the place of a call."""
    function = function_pb2.FunctionDef()
    function.signature.name, function.signature.is_stateful = name, loop.op == "While"
    function.attr["_noinline"].b = True
    held = function.node_def.add()
    held.CopyFrom(loop)
    held.name, held.input[:] = "loop", []
    for i, dtype in enumerate(loop.attr["T"].list.type):
        function.signature.input_arg.add(name=f"in{i}", type=dtype)
        function.signature.output_arg.add(name=f"out{i}", type=dtype)
        held.input.append(f"in{i}")
        function.ret[f"out{i}"] = f"loop:output:{i}"
    held.attr[_TAKEN_APART].b = False
    return function


def whole_loops(graph_def: GraphDef, kept) -> GraphDef:
    """The graph for those who do not take loops and branches apart, but have forms of their own for them."""
    made = GraphDef()
    made.CopyFrom(graph_def)
    mark_taken_apart(made, False)
    return made


def mark_taken_apart(graph_def: GraphDef, is_taken_apart: bool) -> None:
    """Say of all loops and branches, those in functions among them, whether whoever runs them takes them apart."""
    for nodes in (graph_def.node, *(function.node_def for function in graph_def.library.function)):
        for node in nodes:
            if node.op in _CONTROL_FLOW:
                node.attr[_TAKEN_APART].b = is_taken_apart
