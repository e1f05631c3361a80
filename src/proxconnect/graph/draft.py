"""A draft of a graph, for rewriting."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from proxconnect.graph.graph import Graph, Node, TensorName, Value, leaves, map_leaves


class Draft:
    """The nodes of a graph by number; the number of a node stays the same while other nodes come and go.

    >>> from proxconnect.format import InputSpec
    >>> twice = Node("aten.neg.default", (Value(0),)), Node("aten.neg.default", (Value(1),))
    >>> draft = Draft(Graph((InputSpec("x", "float32", ("batch",)),), twice, Value(2)))
    >>> draft.put(2, Node("aten.abs.default", (Value(0),)))
    >>> [node.op for node in draft.graph().nodes]
    ['aten.abs.default']
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.nodes = dict(enumerate(graph.nodes, start=len(graph.inputs)))
        self._next = len(graph.inputs) + len(graph.nodes)
        self._readers: dict[int, Counter[int]] = {}
        for index, node in self.nodes.items():
            self._note(index, node)
        self._results = set(_values(graph.output))

    def node(self, value: object) -> Node | None:
        """Return the node whose result is ``value``; None for an input, and for anything but a value."""
        return self.nodes.get(value.index) if isinstance(value, Value) else None

    def plain(self, value: object, op: str | None = None) -> Node | None:
        """Return the node of ``value`` if it has no keyword arguments and it applies ``op``, if given."""
        node = self.node(value)
        return node if node is not None and not node.kwargs and op in (None, node.op) else None

    def read_once(self, value: object) -> bool:
        """Tell whether a single node reads ``value``, a single time, and the output does not hold it."""
        index = value.index if isinstance(value, Value) else -1
        readers = self._readers.get(index, Counter())
        return len(readers) == 1 and readers[next(iter(readers))] == 1 and index not in self._results

    def put(self, index: int, node: Node) -> None:
        """Put ``node`` in the place of the node of this number, and drop the nodes that nothing reads now."""
        old, self.nodes[index] = self.nodes[index], node
        self._note(index, node)
        self._forget(index, old)

    def add(self, node: Node) -> Value:
        """Add a node, and return its value; :meth:`graph` will put it behind all that it reads."""
        index = self._next
        self._next += 1
        self.nodes[index] = node
        self._note(index, node)
        return Value(index)

    def readers(self, value: Value) -> list[int]:
        """List the nodes that read a value."""
        return sorted(self._readers.get(value.index, ()))

    def is_result(self, value: Value) -> bool:
        """Tell whether the output of the graph holds a value."""
        return value.index in self._results

    def redirect(self, old: int, new: Value | TensorName) -> None:
        """Let every node that reads the value of this number read ``new``."""
        for index in list(self._readers.get(old, ())):
            node = self.nodes[index]
            turned = map_leaves(lambda leaf: new if leaf == Value(old) else leaf, node.args)
            self.put(index, Node(node.op, turned, node.kwargs))

    def graph(self) -> Graph:
        """Return the graph, with its values numbered in order again."""
        offset = len(self._graph.inputs)
        order = self.order()
        number = {index: offset + i for i, index in enumerate(order)}
        number |= {index: index for index in range(offset)}

        def renumbered(leaf: object) -> object:
            return Value(number[leaf.index]) if isinstance(leaf, Value) else leaf

        nodes = tuple(
            Node(node.op, map_leaves(renumbered, node.args), map_leaves(renumbered, dict(node.kwargs)))
            for node in map(self.nodes.__getitem__, order)
        )
        return replace(self._graph, nodes=nodes, output=map_leaves(renumbered, self._graph.output))

    def order(self) -> list[int]:
        """Order the numbers of the nodes as :meth:`graph` does: each behind those that it reads."""
        order: dict[int, None] = {}

        def place(index: int) -> None:
            if index in self.nodes and index not in order:
                for read in _values((self.nodes[index].args, self.nodes[index].kwargs)):
                    place(read)
                order[index] = None

        for index in sorted(self.nodes):
            place(index)
        return list(order)

    def _note(self, index: int, node: Node) -> None:
        for read in _values((node.args, node.kwargs)):
            self._readers.setdefault(read, Counter())[index] += 1

    def _forget(self, index: int, node: Node) -> None:
        gone = [(index, node)]
        while gone:
            index, node = gone.pop()
            for read in _values((node.args, node.kwargs)):
                readers = self._readers[read]
                readers[index] -= 1
                if not readers[index]:
                    del readers[index]
                if not readers and read in self.nodes and read not in self._results:
                    gone.append((read, self.nodes.pop(read)))


def _values(tree: object) -> list[int]:
    return [leaf.index for leaf in leaves(tree) if isinstance(leaf, Value)]
