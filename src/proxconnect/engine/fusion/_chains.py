"""Join elementwise operators to chains, which one kernel computes in one pass, in torch's very roundings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from proxconnect.engine._kernel_call import ChainCall
from proxconnect.engine._operand_layout import ConvOperand, LinearOperand
from proxconnect.engine.fusion._chain_steps import Layout, Link, faithful_steps, steps_of
from proxconnect.engine.fusion._rewriting import CHAIN, PACK, PRODUCT, SUMS, Rewriting
from proxconnect.engine.fusion._rules import Rule
from proxconnect.graph import Node, Shape, Value
from proxconnect.graph.operators import GETITEM
from proxconnect.kernels import Affine, Chain, Step

CallOf = Callable[[Chain, bool], object]  # of a chain, and of whether images come out channels_last


def _product_chains(rewriting: Rewriting, index: int, node: Node) -> None:
    """Let a binary product go on with the operators behind it, and pack the signs of what comes out."""
    shape = rewriting.shape(Value(index))
    if node.op not in (PRODUCT, SUMS) or shape is None or len(shape) < 2:
        return
    product, x, *given = node.args
    if product.kernel != "w1a1" or not isinstance(product.epilogue, Affine):
        return
    residual = given[0] if given else None
    channels = 1 if product.spatial_dimensions else len(shape) - 1
    layout = Layout(type(product.weight), product.weight.n, len(shape), channels)
    growth = _Growth(rewriting, layout, shape, index, [], residual)
    growth.grow()
    if growth.links or growth.pack(product.packing) is not None:
        head = _steps_of_affine(product.affine, residual is not None)
        greatest = 128 if product.wrap else product.inputs
        growth.put(
            head,
            greatest,
            product.packing,
            PRODUCT,
            x,
            lambda chain, last: replace(product, epilogue=chain, channels_last=last),
        )


def _float_chains(rewriting: Rewriting, index: int, node: Node) -> None:
    """Join at least two operators, the packing of signs among them, that follow a float."""
    shape = rewriting.shape(Value(index))
    if shape is None or len(shape) not in (2, 4) or shape[1][0] != shape[1][1]:
        return
    kind = ConvOperand if len(shape) == 4 else LinearOperand
    growth = _Growth(rewriting, Layout(kind, shape[1][0], len(shape), 1), shape, index, [])
    for place, x in enumerate(node.args[:2]):
        if isinstance(x, Value) and rewriting.shape(x) == shape and growth.take(Link(node, place)):
            growth.grow()
            if len(growth.links) > 1 or growth.pack((kind, False)) is not None:
                growth.put([], 0, (kind, False), CHAIN, x, lambda chain, last: ChainCall(kind, chain, last))
            return


@dataclass
class _Growth:
    """A chain that takes up one operator after the other.

    Args:
        rewriting: the graph.
        layout: of the values.
        shape: of the values.
        last: the number of the value that it has come to.
        links: the operators so far.
        residual: the value that one of them adds.
    """

    rewriting: Rewriting
    layout: Layout
    shape: Shape
    last: int
    links: list[Link]
    residual: Value | None = None

    def take(self, link: Link) -> bool:
        """Take an operator up if its steps are known, and tell whether they are."""
        added = link.residual
        if added is not None and (self.residual is not None or self.rewriting.shape(added) != self.shape):
            return False
        if steps_of(link, self.layout, self.rewriting.constant, contracted=True) is None:
            return False
        self.residual = self.residual if added is None else added
        self.links.append(link)
        return True

    def grow(self) -> None:
        """Take up the operators that alone read what came before."""
        draft = self.rewriting.draft
        while draft.read_once(Value(self.last)):
            (reader,) = draft.readers(Value(self.last))
            node = draft.nodes[reader]
            places = [place for place, a in enumerate(node.args[:2]) if a == Value(self.last)]
            if not places or self.rewriting.shape(Value(reader)) != self.shape:
                return
            if not self.take(Link(node, places[0])):
                return
            self.last = reader

    def pack(self, form: object) -> int | None:
        """Return the node that packs the signs of the last value in this form."""
        draft = self.rewriting.draft
        for reader in draft.readers(Value(self.last)):
            node = draft.nodes[reader]
            if node.op == PACK and node.args[0].packing == form:
                return reader
        return None

    def put(self, head: list[Step], greatest: int, form: object, op: str, x: object, call_of: CallOf) -> None:
        """Put the chain into the graph, if it gives torch's bits."""
        steps = faithful_steps(head, self.links, self.layout, self.rewriting.constant, greatest)
        if steps is None:
            self.rewriting.unfaithful += [link.node for link in self.links]
            return
        draft, last, pack = self.rewriting.draft, self.last, self.pack(form)
        read = any(reader != pack for reader in draft.readers(Value(last)))
        floats = read or pack is None or draft.is_result(Value(last))
        chain = Chain.of(steps, self.layout.n, floats=floats, signs=pack is not None)
        call = call_of(chain, last not in self.rewriting.dependence.ordered)
        node = Node(op, (call, x, self.residual))
        if pack is None:
            draft.put(last, node)
        elif not floats:
            draft.put(pack, node)
        else:
            both = draft.add(node)
            draft.put(last, Node(GETITEM, (both, 0)))
            draft.put(pack, Node(GETITEM, (both, 1)))


def _steps_of_affine(affine: Affine, adds: bool) -> list[Step]:
    """Return the steps of an epilogue; those that change nothing are left out."""
    steps = [Step("multiply", (affine.scale,))] if (affine.scale != 1).any() else []
    if affine.bias.any():
        steps.append(Step("add", (affine.bias,)))
    if adds:
        steps.append(Step("add_residual"))
    if affine.slope is not None:
        relu = not affine.slope.any()
        steps.append(Step("at_least" if relu else "prelu", (affine.slope.contiguous(),)))
    return steps


CHAINS: tuple[Rule, ...] = (_product_chains, _float_chains)
