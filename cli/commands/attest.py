"""Commands that prove a journal to others: `lockstep attest`.

Each command imports the file that does its work only when it is called.
"""

from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from cli.options import Directory, Json

PANEL: Final = "Prove it"


class _SignsByDefault(TyperGroup):
    """Group whose first word may be a directory: `lockstep attest DIR` is `lockstep attest sign DIR`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words after `attest`."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["sign", *args]
        return super().parse_args(ctx, args)


app = typer.Typer()
attest = typer.Typer(
    cls=_SignsByDefault,
    help=(
        "Sign what a journal holds, and prove a command or a participant's day to others.\n\n"
        "A slice has a Merkle root of SHA-256 over its commands with their events, and one over the days of its "
        "participants. They are signed by Ed25519 (pip install 'lockstep[attest]'). `lockstep attest DIR` is short for "
        "`lockstep attest sign DIR`.\n\n"
        "Example: lockstep attest sign node1 --key auditor.key --out node1.attestation"
    ),
    no_args_is_help=True,
)
app.add_typer(attest, name="attest", rich_help_panel=PANEL)

Public = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Public key of the signer, PEM.", show_default="the one that the file names"),
]
Attestation = Annotated[Path, typer.Argument(metavar="FILE", help="An attestation.")]


@attest.command()
def key(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="New private key; FILE.pub gets the public one.")],
    as_json: Json = False,
) -> int:
    """Make a pair of Ed25519 keys, PEM.

    Example: lockstep attest key auditor.key
    """
    from cli.proofs.attest import new_key as command

    return command(file, as_json=as_json)


@attest.command()
def sign(
    directory: Directory,
    key: Annotated[Path, typer.Option(metavar="FILE", help="Private Ed25519 key, PEM, without a password.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="New file for the attestation.")],
    as_json: Json = False,
) -> int:
    """Sign a statement about each slice of a journal, up to its last block.

    Example: lockstep attest sign node1 --key auditor.key --out node1.attestation
    """
    from cli.proofs.attest import sign as command

    return command(directory, key, out, as_json=as_json)


@attest.command()
def slices(
    directory: Directory,
    key: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Private Ed25519 key, PEM, that no other user of this machine may read."),
    ],
    as_json: Json = False,
) -> int:
    """Sign each closed slice that has no attestation yet, in a file beside it, as `serve --attest-key` does.

    Each names the one before by its hash. A node may be running.

    Example: lockstep attest slices node1 --key node1.key
    """
    from cli.proofs.attest import sign_slices as command

    return command(directory, key, as_json=as_json)


@attest.command()
def verify(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An attestation, or a data directory: those beside its slices.")
    ],
    directory: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Data directory that must be what was attested.")
    ] = None,
    public: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE|FOLDER",
            help="Public keys of the signers, PEM: files, or folders with files *.pub.",
            show_default="those that the files name",
        ),
    ] = None,
    root: Annotated[str | None, typer.Option(metavar="HEX", help="The root as it was published.")] = None,
    stamp: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Answer of a time stamp authority (RFC 3161).")
    ] = None,
    authority: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --stamp: certificates that you trust, PEM.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Check the signatures of an attestation, what others keep of its root, and that a journal is what it attests.

    Whoever has the private key can sign another past, but not for a root that others have already.

    Example: lockstep attest verify node1.attestation node1 --public auditor.key.pub

    Example: lockstep attest verify node1 --public node1.key.pub

    Example: lockstep attest verify node1 --public keys

    Example: lockstep attest verify node1.attestation node1 --stamp node1.tsr --authority tsa.pem
    """
    from cli.proofs.attest import Kept
    from cli.proofs.attest import verify as command

    return command(file, directory, public or [], Kept(root, stamp, authority), as_json=as_json)


@attest.command()
def request(
    file: Attestation,
    out: Annotated[Path, typer.Option(metavar="FILE", help="New file for the request.")],
    as_json: Json = False,
) -> int:
    """Write a request for a time stamp (RFC 3161) on the root of an attestation, for a third party.

    Nothing is sent. Take the file to an authority (curl --data-binary @node1.tsq -H 'Content-Type:
    application/timestamp-query' URL), and keep its answer with the attestation.

    Example: lockstep attest request node1.attestation --out node1.tsq
    """
    from cli.proofs.attest import request as command

    return command(file, out, as_json=as_json)


@attest.command()
def prove(
    directory: Directory,
    out: Annotated[Path, typer.Option(metavar="FILE", help="New file for the proof.")],
    of: Annotated[Path | None, typer.Option(metavar="FILE", help="The attestation that vouches for it.")] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="In place of --of: private key that signs the journal anew.")
    ] = None,
    seq: Annotated[int | None, typer.Option(metavar="SEQ", min=1, help="Prove this command and its events.")] = None,
    participant: Annotated[
        str | None, typer.Option(metavar="NAME", help="Prove all that this participant did, and what came of it.")
    ] = None,
    day: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="With --participant: on this day, UTC.")] = None,
    without_events: Annotated[
        bool, typer.Option("--without-events", help="With --seq: keep the events secret.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Write a proof of a command, or of a participant's whole day, which needs no journal to be checked.

    Example: lockstep attest prove node1 --of node1.attestation --seq 120000 --out command.proof

    Example: lockstep attest prove node1 --of node1.attestation --participant ALPHA --day 2024-01-15 --out day.proof

    Example: lockstep attest prove node1 --key auditor.key --participant ALPHA --day 2024-01-15 --out day.proof
    """
    from cli.proofs.attest import prove as command

    return command(directory, (of, key), seq, participant, day, out, with_events=not without_events, as_json=as_json)


@attest.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A proof.")],
    public: Public = None,
    as_json: Json = False,
) -> int:
    """Check a proof, and print what it proves. Exit status 1 if it proves nothing.

    Example: lockstep attest check day.proof --public auditor.key.pub
    """
    from cli.proofs.attest import check as command

    return command(file, public, as_json=as_json)
