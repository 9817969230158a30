"""Names of the processes of a node, beside those that the operator gives its gateways."""

from typing import Final

#: The process of the market itself.
CORE: Final = "core"
#: The process that serves the history of a primary, and the one that keeps the events of closed slices.
HISTORY: Final = "history"
EVENTS: Final = "events"
#: The process that signs closed slices.
ATTESTATION: Final = "attestation"
#: The process that writes a checkpoint, and the one that ends the lease of a dead primary.
CHECKPOINT: Final = "checkpoint"
DEATH_WATCH: Final = "death watch"

#: Names that no gateway may have: reports, metrics and the log tell processes apart by their names.
OWN_NAMES: Final = frozenset({CORE, HISTORY, EVENTS, ATTESTATION, CHECKPOINT, DEATH_WATCH})
