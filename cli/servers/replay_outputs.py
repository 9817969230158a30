"""Destination of `lockstep replay`: files, multicast or a WebSocket port."""

from pathlib import Path
from typing import Final

from cli.errors import WrongUse
from cli.options import FeedForm

#: Group, second group, interface, networks to cross, ports for requests and snapshots, as `lockstep feed` has them;
#: None for what is not given.
Sending = tuple[str | None, str | None, str | None, int | None, int | None, int | None]

LOOPBACK: Final = "127.0.0.1"


def again(
    directory: Path,
    feed: str,
    out: Path | None,
    form: str | None,
    to: Sending,
    port: int | None,
    speed: str | None,
    day: str | None,
    begin: str | None,
    end: str | None,
    *,
    as_json: bool,
) -> int:
    """Replay past days to the destination that is named. Raises WrongUse where there is none, or more than one, or
    where options do not go together."""
    group, second_group, interface, ttl, requests, snapshots = to
    places = [name for name, given in (("--out", out), ("--group", group), ("--port", port)) if given is not None]
    if len(places) != 1:
        what = f"{' and '.join(places)} are given" if places else "nothing says where it goes"
        raise WrongUse(f"{what}; give --out FOLDER for files, --group GROUP:PORT or, of ws, --port PORT for sockets")
    (place,) = places
    if place == {"itch": "--port", "ws": "--group"}[feed]:
        raise WrongUse(f"--feed {feed} does not go to {place}; give --{'group' if feed == 'itch' else 'port'}")
    for name, value in (
        ("--second-group", second_group),
        ("--ttl", ttl),
        ("--requests", requests),
        ("--snapshots", snapshots),
        ("--interface", interface),
    ):
        if value is not None and place != "--group" and not (name == "--interface" and place == "--port"):
            of = "--group and --port" if name == "--interface" else "--group"
            raise WrongUse(f"{name} is of {of}; leave it out with {place}")
    if out is None and form is not None:
        raise WrongUse("--format is of files; give --out, or leave it out")
    if feed == "ws" and day is not None:
        raise WrongUse("--day is of --feed itch; give --from and --to")
    if out is not None:
        if speed not in (None, "max"):
            raise WrongUse(f"--speed is {speed}, and files are written as fast as can be; leave it out")
        from cli.servers.replay_files import write_files, write_web

        if (feed == "ws") != (form == FeedForm.json) and form is not None:
            raise WrongUse(
                f"--feed {feed} has no --format {form}; {'give json' if feed == 'ws' else 'json is of --feed ws'}"
            )
        if feed == "ws":
            return write_web(directory, out, begin, end, as_json=as_json)
        return write_files(directory, out, form or "itch", day, begin, end, as_json=as_json)
    from cli.servers.replay_sockets import Multicast, Past, send_itch, send_web

    past = Past(directory, day, begin, end, speed or "1x")
    if group is not None:
        ttl = 1 if ttl is None else ttl
        multicast = Multicast(group, second_group, interface or LOOPBACK, ttl, requests or 0, snapshots or 0)
        return send_itch(past, multicast, as_json=as_json)
    assert port is not None, "one place is given"
    return send_web(past, interface or LOOPBACK, port, as_json=as_json)
