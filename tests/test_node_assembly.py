"""The node is put together in one place: each part is given parts that exist, and no closure waits for a later one."""

import ast
from pathlib import Path

NODE = Path(__file__).parent.parent / "node"


def own_attribute(node: ast.AST) -> str | None:
    """The name of X in ``self.X``."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        return node.attr
    return None


def faults(source: str, class_name: str) -> list[str]:
    """Closures in the constructor of a class, and parts that it reads before it has made them, in their order."""
    (made,) = [one for one in ast.parse(source).body if isinstance(one, ast.ClassDef) and one.name == class_name]
    methods = {one.name: one for one in made.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
    names = list(ast.walk(methods["__init__"]))
    parts = {
        str(own_attribute(one)) for one in names if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store)
    }
    found: list[tuple[int, str]] = [
        (one.lineno, "closure")
        for method in made.body
        for one in ast.walk(method)
        if isinstance(one, ast.Lambda)
        or (isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one not in methods.values())
    ]
    known: set[str] = set()
    for statement in methods["__init__"].body:
        loaded = [one for one in ast.walk(statement) if isinstance(getattr(one, "ctx", None), ast.Load)]
        found += [(one.lineno, name) for one in loaded if (name := own_attribute(one)) in parts - known and name]
        known |= {str(own_attribute(one)) for one in ast.walk(statement) if own_attribute(one)}
    return [what for _, what in sorted(found)]


def test_the_node_has_no_closures_and_gives_each_part_only_parts_that_exist() -> None:
    assert faults((NODE / "node.py").read_text(), "Node") == []


def test_a_closure_and_a_part_that_is_made_later_are_found() -> None:
    source = """
class Node:
    def __init__(self, log):
        self.log = log
        self.checkpointing = CheckpointSchedule(self.log, self.market, has_room=lambda: self.room)
        self.market = Market(self.failed)
        self.market.on_release = self.checkpointing.look
        self.room = True

    def failed(self):
        def later():
            pass
"""
    assert faults(source, "Node") == ["closure", "market", "room", "closure"]
