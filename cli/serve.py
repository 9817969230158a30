"""`lockstep serve`: a node, from its start to its end."""

from pathlib import Path

from cli import errors, screen
from cli.begin import holds_journal
from cli.options import Durability
from cli.warmup import ready
from engine.limits import Capacity


def serve(
    data: Path,
    host: str,
    port: int,
    admin_port: int | None,
    metrics_port: int | None,
    durability: Durability,
    capacity: Capacity,
    checkpoint_every: int,
    connections_max: int,
    password_cost: int,
    busy_poll_us: int,
    clock_error_max_ns: int | None,
    *,
    as_json: bool,
) -> int:
    """Exit status 0 after an orderly end; 2 where the directory, a port or the disk does not let it run."""
    holds_journal(data)
    ready(gateway=True)
    from node.logs import Log
    from node.node import NodeOptions
    from node.program import Listening
    from node.program import serve as run

    def listening(where: Listening) -> None:
        if as_json:
            screen.say_json({"listening": {**where._asdict(), "data": str(data)}})
        else:
            metrics = f", metrics on port {where.metrics_port}" if where.metrics_port is not None else ""
            screen.say(
                f"listening on {where.host} port {where.port}{metrics}; tell it what to do with `lockstep admin`, "
                f"end it with Ctrl-C"
            )
        screen.flush()

    options = NodeOptions(
        data,
        host,
        port,
        durability.value,
        checkpoint_every=checkpoint_every,
        connections_max=connections_max,
        busy_poll_us=busy_poll_us,
        clock_error_max_ns=clock_error_max_ns,
    )
    if durability is Durability.none:
        screen.notice("note: durability none: a crash can lose what was answered; for measurements only")
    with screen.Bar("recovering") as bar:
        run(
            options,
            capacity,
            Log(pretty=False if as_json else None),
            admin_port=admin_port,
            metrics_port=metrics_port,
            password_cost=password_cost,
            progress=bar.to,
            listening=listening,
        )
    return errors.FINE
