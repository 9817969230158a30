"""JSON Schema (draft 2020-12) of a type: dictionaries with fields, lists, tuples, words and numbers. Pure."""

import types
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

Json = dict[str, Any]
_PLAIN: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


class Text(NamedTuple):
    """Pattern of a text, as an annotation of its type."""

    pattern: str


class Schemas:
    """Schemas of types, and under ``named`` those of dictionaries with fields, which the others refer to.

    at: what stands before the name in a reference.

    >>> Schemas("#/").of(list[int] | None)
    {'anyOf': [{'type': 'array', 'items': {'type': 'integer'}}, {'type': 'null'}]}
    """

    def __init__(self, at: str = "#/components/schemas/") -> None:
        self._at = at
        self.named: dict[str, Json] = {}

    def of(self, kind: Any) -> Json:
        """Schema of a type. Raises TypeError for one that is not known here."""
        origin, parts = get_origin(kind), get_args(kind)
        if kind is Any:
            return {}
        if kind in _PLAIN:
            return {"type": _PLAIN[kind]}
        if origin is Annotated:
            made = self.of(parts[0])
            return made | next(({"pattern": each.pattern} for each in parts[1:] if isinstance(each, Text)), {})
        if origin is Literal:
            return {"enum": list(parts)}
        if origin in (Union, types.UnionType):
            return {"anyOf": [self.of(each) for each in parts]}
        if origin is list:
            return {"type": "array", "items": self.of(parts[0])}
        if origin is tuple:  # not prefixItems: makers of clients and of requests read it in more than one way
            places = [self.of(each) for each in dict.fromkeys(parts)]
            items = places[0] if len(places) == 1 else {"anyOf": places}
            return {"type": "array", "items": items, "minItems": len(parts), "maxItems": len(parts)}
        if origin is dict:
            return {"type": "object", "additionalProperties": self.of(parts[1])}
        if is_typeddict(kind):
            return self._fields(kind)
        raise TypeError(f"there is no schema of {kind!r}")

    def _fields(self, kind: Any) -> Json:
        """Schema of a dictionary with fields, and with no others."""
        if kind.__name__ not in self.named:
            fields: Json = {}
            self.named[kind.__name__] = fields  # ahead of its fields, which may have it in them
            hints = get_type_hints(kind, include_extras=True)
            fields |= {
                "type": "object",
                "description": (kind.__doc__ or "").partition("\n")[0],
                "properties": {
                    name: self.of(get_args(hint)[0] if get_origin(hint) is NotRequired else hint)
                    for name, hint in hints.items()
                },
                "required": sorted(kind.__required_keys__),
                "additionalProperties": False,
            }
        return {"$ref": f"{self._at}{kind.__name__}"}
